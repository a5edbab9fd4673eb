// region - the address space in which every pooled block lies, and the map of those blocks.
//
// One range that begins at an address chosen once and grows upwards, mapped as it is needed. A
// jemalloc arena of its own takes its extents from it, so "is this pointer pooled?" is one
// subtraction and one compare, while jemalloc goes on doing page runs, coalescing and purging.
// Addresses inside are counted in units of 64 bytes from the base, so that a block's name fits 32
// bits. Every block starts on a unit; unit 0 is never a block.
//
// Nothing is reserved: the base lies far below the process's other mappings, and where one of these
// is met after all, the region has its final size. Blocks then come from jemalloc's own heap.
//
// The map has an entry for each KiB. No block is smaller than 1 KiB, so each block start has an
// entry of its own:
//   class   written when the block comes from jemalloc, read on every free. It is apart from
//           `state`, so that looking it up never waits for a store of the last malloc.
//   state   while the block is out: the low byte of its unit, which proves on free that this is
//           where a block starts, and that it is live. Another on a free list, and when it is
//           jemalloc's again. Where class is 0 there never was a block, whatever the state.
// The blocks themselves are never touched: at 64 KiB a touch is a cache and a TLB miss.
//
// The rule for signal handlers: every call into jemalloc stands between region_enter() or
// region_pass() and region_leave(). A handler that interrupts its thread there gets no block from
// jemalloc, which may hold locks or have a list half changed, but one of
// pool/region/signal_block.h. Blocks of jemalloc that it frees wait for the next region_leave(). (A
// handler that leaves such a call for good, by siglongjmp, leaves the locks held: nothing helps
// there.)
//
// A block that is out and *sampled*, or has marked pages, has a state of its own. So the fast path
// of free() takes it for no live block, and the slow path checks again. Its note is in a second
// map, of which a process that takes no samples touches nothing.
//
// A *run* is a block of any size that is on no list, for a request that is sampled and not of a
// pooled size. It is always marked so, and of classes of its own. The note outlives a sampled block
// or run until a block begins there again.
//
// An entry is written only by the owner of its block, so it needs no lock. Other threads read the
// fields only to diagnose a wrong free.
#ifndef TIDEPOOL_POOL_REGION_REGION_H
#define TIDEPOOL_POOL_REGION_REGION_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/common/size_class.h"
#include "shim/base.h"

#define REGION_UNIT_LG 6

struct entry {
    uint8_t class;
    uint8_t state;
};

// What the states of a block that is sampled, and of one that is not out, differ in from that. The
// units of one KiB differ in four other bits. A block that is not out is on a list, or on its way;
// jemalloc's again; or that, and the kernel has some of its pages (holes.h).
enum { REGION_SAMPLED = 0x80, REGION_FREE = 0x40, REGION_RELEASED = 0x60, REGION_PURGED = 0x70 };

static_assert(sizeof(struct entry) == 2, "one entry for each KiB: 0.2 % of the pooled memory");

struct region {
    uintptr_t base;
    // What is mapped so far, with what lies before the first block; 0 while there is no region:
    // then nothing is pooled. It only grows, and before any address in the new part is given away.
    // A thread that was given one has synchronised with that, so an old value says nothing wrong.
    size_t bytes;
    size_t max_bytes;
    struct entry *map;
    uint32_t *notes;       // one for each entry
    uintptr_t map_of_zero; // where the entry of address 0 would be: saves a subtraction
    unsigned arena;        // jemalloc's index of the arena that lives here
};

extern struct region region HIDDEN;

enum region_thp { REGION_THP_DEFAULT, REGION_THP_MADVISE, REGION_THP_NEVER };

// Chooses the region's place and creates its arena; call once, before any other function here.
// Returns 0, or -ENOMEM when no useful region could be had: then the process does without pools.
//
// Where the process's address space or data is limited (RLIMIT_AS, RLIMIT_DATA), now or later, the
// region grows to a quarter of the limit at most. Mapped space is not given back.
int region_init(enum region_thp thp);

// Called once, in the middle of a request and with locks held, when another mapping lies where the
// region would grow next. NULL for none. To be set after region_init(), which tries another place
// instead.
extern void (*region_on_wall)(const void *at);

// From now on the limits last read hold: a filter (seccomp) may kill for asking. Any thread; makes
// no system call.
void region_limits_are_final(void);

// A fresh live block of `class`, straight from jemalloc; NULL when out of memory or out of region.
// With `zero` its contents are zero, else undefined. Never touches errno.
void *region_block_new(unsigned class, bool zero);

// A fresh live run of at least `size` bytes; `alignment` is a power of two. NULL when memory or the
// region is used up. Counted as no block.
void *region_run_new(size_t size, size_t alignment, bool zero);

// What a program may use of a live run: what it would have got without sampling, and no less than
// nallocx() said. Otherwise sampled blocks would be resized in place more often than others.
size_t region_run_size(const void *ptr);

// Gives a run back to jemalloc.
void region_run_delete(void *ptr);

// Bytes of all live runs.
uint64_t region_run_bytes(void);

// Gives the whole pages of a fresh block that lie behind its first `size` bytes back to the kernel;
// they read as zero when they are touched again. Returns the block, which may begin earlier now: a
// coloured one keeps only as much of its offset as costs no page.
void *region_block_trim(void *ptr, size_t size);

// Gives a block that no list holds back to jemalloc.
void region_block_delete(uint32_t unit);

// Blocks of `class` that came from jemalloc, and that went back, ever. Any thread.
uint64_t region_created(unsigned class);
uint64_t region_released(unsigned class);

// Gives the arena's unused pages back to the kernel.
void region_purge(void);

// Is this thread inside jemalloc?
enum {
    REGION_OUTSIDE,
    REGION_INSIDE,
    REGION_PASSING,     // and may enter it again where jemalloc says that it holds no lock
    REGION_FORKING = 4, // outside, but jemalloc's locks are held over a fork
    REGION_OWES = 8     // added to the last three: a handler has left blocks to region_leave()
};
extern HIDDEN _Thread_local volatile sig_atomic_t region_inside
    __attribute__((tls_model("initial-exec")));

// Is this thread inside, further down its stack? Then jemalloc must not be entered.
static inline bool region_entered(void)
{
    return unlikely(region_inside != REGION_OUTSIDE);
}

// Around each call into jemalloc, by a thread that is outside. The second is for requests of the
// program's, which may refill a thread cache of jemalloc's: see pages_on_refill.
static inline void region_enter(void)
{
    region_inside = REGION_INSIDE;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void region_pass(void)
{
    region_inside = REGION_PASSING;
    atomic_signal_fence(memory_order_seq_cst);
}

// This thread is outside from here on, unless it owes something. In one instruction, so that no
// handler comes between the answer and that.
static inline bool region_owes(void)
{
#if defined(__x86_64__) && !defined(TIDEPOOL_DEBUG)
    bool owes;

    __asm__ volatile("andl %2, %0"
                     : "+m"(region_inside), "=@ccnz"(owes)
                     : "i"(REGION_OWES)
                     : "memory");
    return owes;
#else
    atomic_signal_fence(memory_order_seq_cst);
    return __atomic_and_fetch(&region_inside, REGION_OWES, __ATOMIC_RELAXED);
#endif
}

// Returns its argument, so that a caller has nothing to keep meanwhile.
void *region_free_deferred(void *result);

static inline void *region_leave_with(void *result)
{
    return unlikely(region_owes()) ? region_free_deferred(result) : result;
}

static inline void region_leave(void)
{
    if (unlikely(region_owes()))
        region_free_deferred(NULL);
}

// Around what runs in the middle of a request where jemalloc may be entered again. The second
// takes what the first returned.
static inline sig_atomic_t region_step_out(void)
{
    sig_atomic_t was = region_inside;

    atomic_signal_fence(memory_order_seq_cst);
    if (was == REGION_PASSING)
        region_inside = REGION_OUTSIDE;
    return was;
}

void region_step_in(sig_atomic_t was);

// Around what jemalloc's fork handlers do. A signal handler that forks may have interrupted a call
// into jemalloc, which goes on in both processes.
void region_fork_begin(void);
void region_fork_end(void);

// Did it?
static inline bool region_fork_is_inside(void)
{
    return region_inside & (REGION_INSIDE | REGION_PASSING);
}

// Bytes that may be used of a live block of jemalloc's. By a thread inside, too. jemalloc's map of
// extents can be read without its locks; but not by way of the thread's cache of that map, which
// the interrupted call may be changing. jemalloc 5.3: an entry has the size class above the
// address's 48 bits.
size_t region_je_size(const void *ptr);

// jemalloc's one call of pthread_key_create(), which the build gives this name: what it does at a
// thread's end is a call into it, too.
int region_key_create(pthread_key_t *key, void (*destructor)(void *));

// By a handler whose thread is inside: leaves a block of jemalloc's, or of this region, to
// region_leave(). The block is written to.
void region_defer(void *ptr);

// Around a fork, before jemalloc takes its locks and after. In the child, before anything is asked
// of the region.
void region_prefork(void);
void region_postfork_parent(void);
void region_postfork_child(void);

static inline struct entry *region_entry(uint32_t unit)
{
    return &region.map[unit >> (10 - REGION_UNIT_LG)];
}

// The entry by address. It is what free() waits for most, so it takes the fewest steps.
static inline struct entry *region_entry_at(const void *ptr)
{
    return (struct entry *)(region.map_of_zero + ((uintptr_t)ptr >> 10) * sizeof(struct entry));
}

static inline void *region_address(uint32_t unit)
{
    return (void *)(region.base + ((uintptr_t)unit << REGION_UNIT_LG));
}

// A plain load, which the compiler makes part of the compare, as it does with none that is atomic.
static inline size_t region_bytes(void)
{
#ifdef TIDEPOOL_DEBUG
    return __atomic_load_n(&region.bytes, __ATOMIC_RELAXED);
#else
    return region.bytes;
#endif
}

static inline bool region_holds(const void *ptr)
{
    return (uintptr_t)ptr - region.base < region_bytes();
}

// The unit of an address in the region, or a number beyond 32 bits where the address is not on a
// unit's boundary.
static inline uint64_t region_unit(const void *ptr)
{
    uint64_t offset = (uintptr_t)ptr - region.base;

    return offset >> REGION_UNIT_LG | offset << (64 - REGION_UNIT_LG);
}

// What the state of its entry is while a live block begins at `unit`; beyond a byte, and so no
// state, where that is no address on a unit's boundary.
static inline uint64_t region_live_state(uint64_t unit)
{
    return unit & (~UINT64_C(0) << (64 - REGION_UNIT_LG) | UINT8_MAX);
}

// In which of the states above is the block that begins in the KiB of this address? 0: live.
static inline unsigned region_kind(uintptr_t at, uint8_t state)
{
    return (state ^ (unsigned)((at - region.base) >> REGION_UNIT_LG)) & 0xf0;
}

// Read by threads that free the block at the same time, by mistake.
static inline uint8_t region_state(const struct entry *e)
{
    return __atomic_load_n(&e->state, __ATOMIC_RELAXED);
}

static inline void region_set_state(struct entry *e, uint8_t state)
{
    __atomic_store_n(&e->state, state, __ATOMIC_RELAXED);
}

// Does the block that began in this KiB last begin at `unit`, and is not out?
static inline bool region_is_free(const struct entry *e, uint64_t unit)
{
    uint64_t differs = region_state(e) ^ region_live_state(unit);

    return differs == REGION_FREE || differs == REGION_RELEASED || differs == REGION_PURGED;
}

// Makes the block at `ptr`, an address in the region, no longer live, in one atomic step: of
// several threads that free one block one claims it. Says what it was.
enum region_claim { REGION_NOT_OUT, REGION_LIVE, REGION_LIVE_SAMPLED };
enum region_claim region_claim(const void *ptr);

// Is `ptr`, an address in the region, the start of a sampled block or run that is out?
static inline bool region_is_sampled(const void *ptr)
{
    const struct entry *e = region_entry_at(ptr);

    return (region_state(e) ^ REGION_SAMPLED) == region_live_state(region_unit(ptr)) && e->class;
}

static inline bool region_is_run(const void *ptr)
{
    return region_entry_at(ptr)->class >= SIZE_CLASS_RUN && region_is_sampled(ptr);
}

static inline void region_mark_sampled(void *ptr)
{
    struct entry *e = region_entry_at(ptr);

    e->state ^= REGION_SAMPLED;
}

static inline uint32_t *region_note_at(const void *ptr)
{
    return &region.notes[((uintptr_t)ptr - region.base) >> 10];
}

static inline uint32_t region_note(const void *ptr)
{
    return *region_note_at(ptr);
}

// The first one makes each new block search for one that it has to clear.
void region_set_note(void *ptr, uint32_t note);

// Was a note ever set?
bool region_has_notes(void);

// The program has marked the pages of [at, end) (marks.h). Live blocks with a whole page among them
// go to jemalloc when they are freed, not to a list: they count as sampled, without a note. Any
// thread; a block that is freed at that moment may be missed.
void region_blocks_marked(uintptr_t at, uintptr_t end);

// Is `ptr`, an address in the region, the start of a block that is out, and not sampled?
static inline bool region_is_live(const void *ptr)
{
    const struct entry *e = region_entry_at(ptr);

    return region_state(e) == region_live_state(region_unit(ptr)) && e->class;
}

#endif
