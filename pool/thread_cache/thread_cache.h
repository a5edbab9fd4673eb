// thread_cache - a thread's free blocks, and how another thread takes them away.
//
// For each class a thread has a list, which malloc and free work on. It is a stack of unit numbers,
// so that neither a block nor the map has to be read to find the next. A miss fetches a part of a
// list from the transfer cache, an overflow takes half of the list there. So a thread whose traffic
// wavers around the end of a list does not go there each time.
//
// A cache's thread may touch it, without atomics, between `busy = 1` and `busy = 0`, provided that
// `revoked` is clear in between. A drain sets `revoked` on the caches of all threads, runs
// membarrier(2) once, and waits for each to be not busy. Then it owns them, even the cache of a
// thread that sleeps in epoll_wait for an hour. Until the drain clears `revoked`, the threads are
// served around their caches. A thread that finds `busy` set on entry is a signal handler that
// interrupted a request: it is served around the cache too. Where membarrier is refused, `revoked`
// asks the thread to give its blocks up itself, at its next request.
#ifndef TIDEPOOL_POOL_THREAD_CACHE_THREAD_CACHE_H
#define TIDEPOOL_POOL_THREAD_CACHE_THREAD_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/common/size_class.h"
#include "pool/region/region.h"
#include "pool/thread_cache/transfer_cache.h"
#include "shim/base.h"

// A list has its units in slots 1 to CACHE_LIST_MAX at most; in slot 0 lies a 0, which is no
// block's unit.
#define CACHE_LIST_MAX 255u

// What malloc and free touch: half a cache line. The count of requests is also a statistic, which
// readers in other threads see a little late. And it counts up to 0: the request that would take it
// there is to be sampled. It starts at a random distance, or, where nothing is sampled, at one that
// takes for ever.
struct bin {
    _Alignas(32) uint32_t *_Atomic top; // the slot of the block to hand out next, or of the 0
    uint32_t *_Atomic full;             // the last slot that quota is held for
    _Atomic uint64_t requests;          // blocks taken from the list so far, from its start on
    uint32_t *_Atomic list;             // slot 0
};

static_assert(sizeof(struct bin) == 32, "two bins a cache line");

#define CACHE_NEVER ((uint64_t)1 << 63) // a count this far from 0 does not get there
#define CACHE_DUE UINT64_MAX            // and at this one the next request is sampled

// What only the slow paths touch.
struct bin_ledger {
    uint32_t room;                  // blocks that the list has slots for
    uint32_t target;                // blocks that move at once; grows with misses and overflows
    uint32_t target_max, exchanges; // how far, as of the last time that it was counted out
    uint32_t take;                  // blocks to take from the transfer cache, the last time
    uint32_t fills;                 // how often in a row it filled up without being taken from,
    uint64_t filled_at;             // and what `requests` was then
    uint64_t miss_at;               // blocks put, when the list was last found empty
    // Odd while the lists and the counters do not fit each other.
    _Atomic uint32_t version;
    _Atomic uint64_t start; // of `requests`
    _Atomic uint64_t moved; // blocks that came as whole lists, less those that went
    // The last count that fitted together; written by the counting thread.
    _Atomic uint64_t counted_mallocs, counted_frees;
    _Atomic uint32_t counted_free;
    uint64_t interval; // that the distance of `requests` from 0 was drawn with; see sampler.h
    uint64_t aged;     // mallocs + frees at the last ageing, from some start on
    uint64_t seen;     // and when quota was missing last
    bool chosen;       // to be emptied by the drain
};

struct cache {
    _Alignas(64) _Atomic unsigned char busy;
    _Atomic unsigned char revoked;
    bool attached;  // a thread's, or free for the next thread
    bool chosen;    // some of its classes are
    unsigned slots; // in use by lists, which lie behind this structure
    struct cache *next;
    // One more than there are lists: that of class 0 is always full.
    struct bin bin[SIZE_CLASS_END];
    struct bin_ledger ledger[SIZE_CLASS_END];
};

// The calling thread's cache. Before a thread's first pooled request, and after it has exited, one
// that is always busy: the fast paths need no test for it.
extern _Thread_local struct cache *cache_self __attribute__((tls_model("initial-exec"))) HIDDEN;

// Is the calling thread inside its cache already, or without one for good?
bool cache_entered(void);

// A plain load, which the compiler makes part of the compare; on x86-64 it orders as an acquire.
static inline bool cache_flag(const _Atomic unsigned char *flag)
{
#if defined(__x86_64__) && !defined(TIDEPOOL_DEBUG)
    return *(const unsigned char *)(uintptr_t)flag;
#else
    return atomic_load_explicit(flag, memory_order_acquire);
#endif
}

static inline bool cache_enter(struct cache *t)
{
    if (unlikely(cache_flag(&t->busy)))
        return false;
    atomic_store_explicit(&t->busy, 1, memory_order_relaxed);
    // Store before load, as far as the compiler goes; the processor's part is the revoker's
    // membarrier.
    atomic_signal_fence(memory_order_seq_cst);
    if (unlikely(cache_flag(&t->revoked))) {
        atomic_store_explicit(&t->busy, 0, memory_order_release);
        return false;
    }
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

static inline void cache_leave(struct cache *t)
{
    atomic_store_explicit(&t->busy, 0, memory_order_release);
}

// The bin of a class; and for a run's, some place in the cache that may be read.
static inline struct bin *cache_bin(struct cache *t, uint8_t class)
{
    static_assert(sizeof(struct cache) >= (SIZE_CLASS_RUN_END + 1) * sizeof(struct bin), "for all");
    char *at = (char *)t + class * sizeof(struct bin);

    // The compiler would find the way to each member anew.
    __asm__("" : "+r"(at));
    return (struct bin *)(void *)(at + offsetof(struct cache, bin));
}

// Counts the request that takes `unit`, which is 0 on an empty list. True where it gets nothing:
// the list is empty, and nothing is counted, or the count comes to 0. Without a branch, and in one
// instruction for the count: the compiler knows no way to add to memory that is atomic for readers
// only.
static inline bool cache_denies(_Atomic uint64_t *requests, uint32_t unit)
{
#if defined(__x86_64__) && !defined(TIDEPOOL_DEBUG)
    uint32_t counted;
    bool denied;

    // The carry says `unit` is 0, then that no 0 was reached.
    __asm__("cmpl $1, %[unit]\n\t"
            "sbbq $-1, %[requests]\n\t"
            "sbbl %[counted], %[counted]\n\t"
            "testl %[unit], %[counted]"
            : [requests] "+m"(*requests), [counted] "=&r"(counted), "=@ccz"(denied)
            : [unit] "r"(unit));
    return denied;
#else
    uint64_t n = atomic_load_explicit(requests, memory_order_relaxed) + (unit != 0);

    atomic_store_explicit(requests, n, memory_order_relaxed);
    return !unit || !n;
#endif
}

// `value` where `a` and `b` are equal, else `other`; without a branch, which compilers would rather
// have.
static inline uint64_t cache_if_equal(uint64_t a, uint64_t b, uint64_t value, uint64_t other)
{
#if defined(__x86_64__) && !defined(TIDEPOOL_DEBUG)
    __asm__("cmpq %1, %2\n\tcmovneq %3, %0" : "+r"(value) : "r"(a), "r"(b), "r"(other) : "cc");
    return value;
#else
    return a == b ? value : other;
#endif
}

// A block of `class` from the thread's current list; NULL where the list is empty, or this request
// is to be sampled: then pool_get_transferred().
static inline void *cache_pop(unsigned class)
{
    struct cache *t = cache_self;

    if (unlikely(!cache_enter(t)))
        return NULL;
    struct bin *b = cache_bin(t, (uint8_t) class);
    uint32_t *top = atomic_load_explicit(&b->top, memory_order_relaxed), unit = *top;
    // One branch for both: a branch that was taken once costs Zen a cycle whenever it comes by
    // again, and each list has been empty, so that sampling adds none.
    if (unlikely(cache_denies(&b->requests, unit))) {
        if (unit)
            atomic_store_explicit(&b->requests, CACHE_DUE, memory_order_relaxed);
        cache_leave(t);
        return NULL;
    }
    atomic_store_explicit(&b->top, top - 1, memory_order_relaxed);
    region_set_state(region_entry(unit), (uint8_t)unit);
    cache_leave(t);
    void *ptr = region_address(unit);
    if (!ptr)
        __builtin_unreachable();
    return ptr;
}

// Takes the block at `ptr`, an address in the region; false sends the caller to pool_put_slow(),
// which also tells a wrong free from a full list.
static inline __attribute__((always_inline)) bool cache_push(void *ptr)
{
    uint64_t unit = region_unit(ptr);
    struct entry *e = region_entry_at(ptr);
    struct cache *t = cache_self;
    struct bin *b = cache_bin(t, e->class);

    if (unlikely(!cache_enter(t)))
        return false;
    uint32_t *top = atomic_load_explicit(&b->top, memory_order_relaxed);
    uintptr_t full = (uintptr_t)atomic_load_explicit(&b->full, memory_order_relaxed);
    // One branch again: for what is no live block, or sampled, the list is full.
    full = cache_if_equal(region_live_state(unit), region_state(e), full, (uintptr_t)top);
    if (unlikely((uintptr_t)top >= full)) {
        cache_leave(t);
        return false;
    }
    region_set_state(e, (uint8_t)unit ^ REGION_FREE);
    top[1] = (uint32_t)unit;
    atomic_store_explicit(&b->top, top + 1, memory_order_relaxed);
    cache_leave(t);
    return true;
}

// Finds out what the kernel allows and makes the key whose destructor detaches a thread's cache.
// Returns whether other threads' caches can be drained. Call once.
bool cache_init(void);

// cache_pop() and cache_push() when the fast path could not: they attach the thread, swap lists, go
// to the transfer cache. NULL when there is no free block: the caller asks jemalloc.
void *cache_pop_slow(unsigned class);
// Takes a block that the caller has claimed (region_claim). False when there is no room: the caller
// gives it back to jemalloc.
bool cache_push_slow(uint32_t unit);

// Is the request of `class`, which the lists did not serve, to be sampled? Then *interval is what
// that was drawn with, the next one is drawn, and the lists serve this one if they can; else it is
// counted.
enum cache_sample {
    CACHE_ORDINARY,
    CACHE_SAMPLED,
    CACHE_UNCOUNTED, // the thread has no cache that it may touch now
};
enum cache_sample cache_sample(unsigned class, uint64_t *interval);

// Empties every cache into the transfer cache, or with `idle_only` only the lists that have not
// been used since the last call with idle_only. Any thread; takes the registry's lock.
void cache_drain_all(bool idle_only);

// Do free blocks of `class` give way to requests that would take new pages? Large ones do, 16 KiB
// and more, where the user set no limit.
bool cache_gives_way(unsigned class);

// Empties the lists of such classes into the transfer cache: all threads', or the calling one's.
// The first returns false where that was done a moment ago: 10 ms, and 500 us for each thread. Any
// thread, outside of any cache.
bool cache_drain_large(void);
void cache_drain_self_large(void);

// Around work on all caches or on the transfer cache, by a thread that may be interrupted: a signal
// handler would wait for locks that its own thread holds. Between the two this thread has no cache,
// and what the handler wants comes from jemalloc. The second takes what the first returned.
struct cache *cache_step_aside(void);
void cache_step_back(struct cache *self);

// Empties the calling thread's own cache into the transfer cache; returns the bytes of its free
// blocks.
uint64_t cache_drain_self(void);

// Sums over the caches there are, and those there were.
struct cache_count {
    uint64_t mallocs;     // blocks handed out by lists
    uint64_t frees;       // blocks taken by lists
    uint64_t free_blocks; // on lists now
};
// Takes no lock: a list that is on its way from one place to another may be seen twice, or not.
void cache_count(struct cache_count count[SIZE_CLASS_END]);
unsigned cache_threads(void);

// Blocks of `class` that were taken out of caches by a drain, by ageing or because their thread
// ended, ever. And frees that found no room because a limit was reached.
uint64_t cache_drained(unsigned class);
uint64_t cache_overflows(unsigned class);

// Around fork. In the child the caches of the threads that are gone are emptied into the transfer
// cache.
void cache_prefork(void);
void cache_postfork_parent(void);
void cache_postfork_child(void);

// In a child whose parent ran no handler, anywhere: no lock is held and no cache is drained.
void cache_forget_threads(void);

#endif
