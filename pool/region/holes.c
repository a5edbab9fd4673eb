#include "pool/region/holes.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/common/guard.h"
#include "pool/common/marks.h"
#include "pool/common/pages.h"
#include "pool/region/map.h"
#include "shim/clock.h"

#define PAGE ((uintptr_t)4096)
// No block of a slab is larger (jemalloc 5.3: 14 KiB). With the pages that its blocks reach behind
// it, a window has as many as a word has bits.
#define REACH_BYTES ((uintptr_t)16 << 10)
#define WINDOW_PAGES 60u
#define WINDOW_BYTES (WINDOW_PAGES * PAGE)
static_assert(WINDOW_PAGES + REACH_BYTES / PAGE == 64, "a bit for each page");

// How often a thread that waits yields; then it sleeps, for the other may be of lower priority.
#define YIELDS 50
#define NAP_US 20

// Parts of the region, and in which of them blocks were released since it was read last. A release
// at that very moment may be missed: then the next one in the part brings it.
#define PART_WINDOWS ((uintptr_t)4)
#define PART_BYTES (PART_WINDOWS * WINDOW_BYTES)
static _Atomic bool expected[REGION_MAX_BYTES / PART_BYTES + 1];

void (*holes_on_refill)(size_t bytes);
_Atomic uintptr_t holes_window;
static _Atomic bool purging;
static _Atomic uint64_t purged;

uint64_t holes_purged(void)
{
    return atomic_load_explicit(&purged, memory_order_relaxed);
}

void holes_refill(size_t bytes)
{
    int saved = errno;

    if (holes_on_refill)
        holes_on_refill(bytes);
    errno = saved;
}

static bool is_in_window(uintptr_t at, uintptr_t end)
{
    uintptr_t window = atomic_load_explicit(&holes_window, memory_order_acquire);

    return window && at < window + WINDOW_BYTES && end > window;
}

void holes_wait(uintptr_t at, uintptr_t end)
{
    int saved = errno;

    for (unsigned i = 0; is_in_window(at, end); i++)
        if (i < YIELDS)
            sched_yield();
        else
            clock_nap_us(NAP_US);
    errno = saved;
}

// What is known of the pages from `at` on, a bit for each.
struct view {
    uintptr_t at;
    uint64_t used; // with blocks that are out or on a list
    uint64_t dead; // with blocks of a slab's size that were, since their pages went back last
};

// Those of [at, end).
static uint64_t page_bits(const struct view *v, uintptr_t at, uintptr_t end)
{
    uintptr_t last = v->at + 64 * PAGE;

    if (at < v->at)
        at = v->at;
    if (end > last)
        end = last;
    if (at >= end)
        return 0;
    uintptr_t from = (at - v->at) / PAGE, to = (end - 1 - v->at) / PAGE;
    return ~UINT64_C(0) >> (63 - (to - from)) << from;
}

static size_t slab_block_bytes(unsigned class)
{
    size_t bytes = class < SIZE_CLASS_RUN ? size_class_run_bytes(class) : REACH_BYTES;

    return bytes < REACH_BYTES ? bytes : 0;
}

static uint64_t block_bits(const struct view *v, uintptr_t kib, uint8_t state, size_t bytes)
{
    uintptr_t at = kib + ((uintptr_t)(state & 15) << REGION_UNIT_LG);

    return page_bits(v, at, at + bytes);
}

// The block of the entry, if there was one, is live unless the entry says otherwise.
static void note_block(struct view *v, uintptr_t kib)
{
    const struct entry *e = region_entry_at((void *)kib);
    uint8_t state = __atomic_load_n(&e->state, __ATOMIC_SEQ_CST);
    unsigned class = __atomic_load_n(&e->class, __ATOMIC_RELAXED);
    size_t bytes = class ? slab_block_bytes(class) : 0;

    switch (class ? region_kind(kib, state) : REGION_PURGED) {
    case REGION_PURGED:
        break;
    case REGION_RELEASED:
        v->dead |= block_bits(v, kib, state, bytes);
        break;
    default:
        v->used |= block_bits(v, kib, state, bytes ? bytes : REACH_BYTES);
    }
}

static uintptr_t region_end(void)
{
    return region.base + region_bytes();
}

static uintptr_t first_block(void)
{
    return region.base + REGION_FIRST_BLOCK_BYTES;
}

static void expect_at(uintptr_t at)
{
    _Atomic bool *part = &expected[(at - first_block()) / PART_BYTES];

    if (!atomic_load_explicit(part, memory_order_relaxed))
        atomic_store_explicit(part, true, memory_order_relaxed);
}

void holes_expect(uintptr_t at, uintptr_t end)
{
    expect_at(at);
    expect_at(end - 1);
}

static void look(struct view *v)
{
    uintptr_t from = v->at - REACH_BYTES, to = v->at + 64 * PAGE;

    if (from < first_block())
        from = first_block();
    if (to > region_end())
        to = region_end();
    for (; from < to; from += 1024)
        note_block(v, from);
}

static uint64_t slabs_among(const struct view *v, uint64_t pages)
{
    uint64_t slabs = 0;

    for (; pages; pages &= pages - 1) {
        unsigned i = (unsigned)__builtin_ctzll(pages);
        slabs |= (uint64_t)region_is_slab(v->at + i * PAGE) << i;
    }
    return slabs;
}

static uint64_t give_back(const struct view *v, uint64_t pages)
{
    uint64_t bytes = 0;

    while (pages) {
        unsigned first = (unsigned)__builtin_ctzll(pages);
        unsigned count = (unsigned)__builtin_ctzll(~(pages >> first));
        uintptr_t at = v->at + first * PAGE;
        pages &= ~page_bits(v, at, at + count * PAGE);
        if (!marks_any(at, count * PAGE) &&
            pages_madvise((void *)at, count * PAGE, MADV_DONTNEED) == 0)
            bytes += count * PAGE;
    }
    return bytes;
}

// Blocks with a page among these are left alone until they have been out again. A block lies in one
// row of free pages, which went as a whole; behind the window it may have gone before.
static void note_purged(const struct view *v, uint64_t pages)
{
    for (uintptr_t kib = v->at; kib < v->at + WINDOW_BYTES && kib < region_end(); kib += 1024) {
        struct entry *e = region_entry_at((void *)kib);
        unsigned class = __atomic_load_n(&e->class, __ATOMIC_RELAXED);
        uint8_t state = region_state(e);
        if (class && region_kind(kib, state) == REGION_RELEASED &&
            (block_bits(v, kib, state, slab_block_bytes(class)) & pages))
            __atomic_compare_exchange_n(&e->state, &state, state ^ REGION_RELEASED ^ REGION_PURGED,
                                        false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
}

static uint64_t purge_window(uintptr_t at)
{
    const uint64_t inside = ~UINT64_C(0) >> (64 - WINDOW_PAGES);
    struct view v = {.at = at};
    uint64_t bytes = 0;

    atomic_store(&holes_window, at);
    look(&v);
    uint64_t holes = v.dead & ~v.used;
    uint64_t pages = slabs_among(&v, holes & inside);
    if (pages) {
        bytes = give_back(&v, pages);
        note_purged(&v, pages | (holes & ~inside));
    }
    atomic_store_explicit(&holes_window, 0, memory_order_release);
    return bytes;
}

static uint64_t purge_part(uintptr_t at, uint64_t max_bytes)
{
    uint64_t bytes = 0;

    for (uintptr_t i = PART_WINDOWS; i-- && bytes < max_bytes;)
        if (at + i * WINDOW_BYTES < region_end())
            bytes += purge_window(at + i * WINDOW_BYTES);
    // There may be more.
    if (bytes >= max_bytes)
        expect_at(at);
    return bytes;
}

uint64_t holes_purge(uint64_t max_bytes)
{
    uint64_t bytes = 0;
    int saved = errno;

    if (!region_bytes() || atomic_exchange(&purging, true))
        return 0;
    // A signal handler that took a block would wait for its own thread.
    guard_enter();
    uintptr_t parts = (region_end() - first_block() + PART_BYTES - 1) / PART_BYTES;
    while (parts-- && bytes < max_bytes)
        if (atomic_exchange(&expected[parts], false))
            bytes += purge_part(first_block() + parts * PART_BYTES, max_bytes - bytes);
    guard_leave();
    atomic_fetch_add_explicit(&purged, bytes, memory_order_relaxed);
    atomic_store(&purging, false);
    errno = saved;
    return bytes;
}

// Unless it is this thread, interrupted by a handler that forks.
void holes_postfork_child(void)
{
    if (guard_fork_is_inside())
        return;
    atomic_store(&holes_window, 0);
    atomic_store(&purging, false);
}
