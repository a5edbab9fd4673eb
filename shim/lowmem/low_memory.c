#include "shim/lowmem/low_memory.h"

#include <errno.h>
#include <stdatomic.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/common/sampler.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/large_cache.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/pool.h"
#include "pool/region/remap.h"
#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "shim/jemalloc/guarded.h"

#define REUSE_MIN_BYTES SIZE_CLASS_FIRST_COLOURED_BYTES

// In lists, for it to be worth emptying them.
#define TRIM_MIN_BYTES ((size_t)1 << 20)

// While memory is not short, this many times what is asked for goes back: less seldom lies side by
// side. A server with 4 threads and waves of connections peaked at 770 MiB without, at 700 with 8,
// at 665 with 32, where 540 were live; none of that took time that could be measured.
#define WAY_TIMES 32

static _Atomic uint64_t limit = PRESSURE_UNLIMITED;

void low_memory_set_limit(uint64_t limit_bytes)
{
    atomic_store_explicit(&limit, limit_bytes, memory_order_relaxed);
}

static bool is_large(size_t size)
{
    return size > SIZE_CLASS_MAX_BYTES;
}

// From pages that jemalloc holds; NULL where it would have to take more.
static void *reuse(size_t size, bool zero)
{
    int saved = errno;
    void *ptr;

    // A thread's first request makes jemalloc ask for what it keeps for the thread.
    guarded_attach();
    pages_freeze(is_large(size) ? je_nallocx(size, 0) : pool_block_bytes(size, true));
    ptr = is_large(size) ? guarded_alloc(size, zero) : pool_get_new(size, zero);
    pages_freeze(0);
    errno = saved;
    return ptr;
}

// Are there free blocks of other sizes that may give way?
static bool has_way(size_t size)
{
    if (is_large(size))
        return large_cache_bytes() >= size;
    return quota_taken_bytes() >= 4 * size + TRIM_MIN_BYTES &&
           (pressure_keep_bytes() != PRESSURE_UNLIMITED || pool_may_give_way());
}

// While memory is short, all of them do. Else some: one that is wanted again soon is a call into
// jemalloc.
static bool make_way(size_t size)
{
    if (is_large(size))
        return large_cache_drain() > 0;
    if (pressure_keep_bytes() == PRESSURE_UNLIMITED)
        return pool_give_way(WAY_TIMES * size) > 0;
    pool_trim(0);
    return true;
}

// Each request that is large is an evaluation, or a reclaim, near the limit.
static bool is_short(size_t size)
{
    return is_large(size) ? pressure_asks(size) : pressure_keep_bytes() != PRESSURE_UNLIMITED;
}

// Pages that lie free are better than new ones: a new one costs a fault and, while memory is short,
// has to be given back elsewhere. Where none fit, those of free blocks of other sizes may, with
// what lies between them.
void *low_memory_reuse(size_t size, bool zero)
{
    // What is smaller shares its pages with others. And only where a request can be made to fail
    // instead of taking pages.
    if (size <= REUSE_MIN_BYTES || (!is_large(size) && !pool_block_bytes(size, true)) ||
        !je_private_is_on() || !pressure_may_fit(size))
        return NULL;
    bool way = has_way(size);
    if (!way && !is_short(size))
        return NULL;
    void *ptr = reuse(size, zero);
    return ptr || !way || !make_way(size) ? ptr : reuse(size, zero);
}

// What each thread may have in hand and not have touched yet; more where blocks are larger.
#define IN_HAND_BYTES ((uint64_t)2 << 20)

// A move makes no room, and other threads need some for what they have in hand.
static bool others_have_room(size_t size)
{
    uint64_t others = cache_threads(), each = size > IN_HAND_BYTES ? size : IN_HAND_BYTES;

    // With this one among them, or before it has its lists.
    others -= others > 0;
    return pressure_room() >= others * each;
}

// Is there so little room that what is taken has to be given back elsewhere? The pieces of which a
// large block is made cost less for each page than those of a small one, and pay sooner.
static bool has_to_move(size_t size)
{
    uint64_t near = atomic_load_explicit(&limit, memory_order_relaxed) / 20;

    if (size > SIZE_CLASS_MAX_BYTES)
        near *= 2;
    return pressure_room() < near + size && others_have_room(size);
}

void *low_memory_move(size_t size)
{
    struct remap pages = {0};
    int saved = errno;
    uintptr_t begin;
    size_t fresh;
    void *ptr;

    if (size < REMAP_MIN_BYTES || pressure_keep_bytes() == PRESSURE_UNLIMITED ||
        !pressure_may_fit(size) || !has_to_move(size) || !remap_usable() || !remap_begin(&pages))
        return NULL;
    ptr = pool_get_new(size, false);
    if (!ptr)
        ptr = guarded_alloc(size, false);
    fresh = pages.fresh_end - pages.fresh;
    begin = (uintptr_t)ptr & ~(uintptr_t)4095;
    // What lies behind its last byte is not touched, or gone already.
    if (ptr)
        fresh -=
            remap_fill(&pages, begin, ((uintptr_t)ptr + size + 4095) & ~(uintptr_t)4095, REMAP_ANY);
    remap_end();
    // The rest is as new as always.
    pressure_ask(fresh);
    pages_take(fresh);
    watchdog_thread_poke();
    errno = saved;
    return pages.lost ? NULL : ptr;
}

#define STOCK_BYTES ((size_t)1 << 20)

// Of growth, until the next try: after one that brought something, and after one in vain.
#define STOCK_STEP_BYTES ((uint64_t)64 << 10)
#define STOCK_RETRY_BYTES ((uint64_t)2 << 20)

// A block that is to be filled with the pages of other arenas, and freed then, so that they serve
// the small requests to come.
struct spare {
    uintptr_t block, fresh, fresh_end;
};

static struct spare make_spare(bool pooled, const struct remap *pages)
{
    struct spare s;

    guard_enter();
    s.block =
        (uintptr_t)je_mallocx(STOCK_BYTES, JE_TCACHE_NONE | (pooled ? JE_ARENA(region.arena) : 0));
    guard_leave();
    // A signal handler's pages may have been noted instead.
    s.fresh = pages->fresh > s.block ? pages->fresh : s.block;
    s.fresh_end =
        pages->fresh_end < s.block + STOCK_BYTES ? pages->fresh_end : s.block + STOCK_BYTES;
    if (s.fresh_end < s.fresh)
        s.fresh_end = s.fresh;
    return s;
}

// One in vain is kept for the next try: 4.2 -> 3.7 s for small and large blocks at 1.09 of what is
// live, and a fifth of the faults where sizes shift. The thread that moves pages takes it out
// meanwhile: a child that is forked in the middle must not find it.
static size_t stock(bool pooled, struct remap *pages)
{
    static struct spare kept[2];
    struct spare s = kept[pooled];

    kept[pooled].block = 0;
    atomic_signal_fence(memory_order_seq_cst);
    if (!s.block)
        s = make_spare(pooled, pages);
    if (!s.block)
        return 0;
    pages->fresh = s.fresh;
    pages->fresh_end = s.fresh_end;
    size_t fresh = s.fresh_end - s.fresh;
    size_t moved =
        remap_fill(pages, s.block, s.block + STOCK_BYTES, pooled ? REMAP_OTHERS : REMAP_POOLS);
    // One that lay free with pages needs none.
    if (fresh && !moved) {
        kept[pooled].fresh = s.fresh;
        kept[pooled].fresh_end = s.fresh_end;
        atomic_signal_fence(memory_order_seq_cst);
        kept[pooled].block = s.block;
        return 0;
    }
    if (!pages->lost) {
        guard_enter();
        je_dallocx((void *)s.block, JE_TCACHE_NONE);
        guard_leave();
    }
    pages_take(fresh - moved);
    return moved;
}

// jemalloc counts what it gives us, and the program's samples would be off by that.
void low_memory_stock_up(bool pooled)
{
    static _Atomic uint64_t due_at;
    struct remap pages = {0};
    uint64_t taken, due;

    if (likely(pressure_keep_bytes() == PRESSURE_UNLIMITED) || !pages_grew() || sampler_is_on())
        return;
    taken = pages_taken();
    due = atomic_load_explicit(&due_at, memory_order_relaxed);
    if (taken < due || !others_have_room(STOCK_BYTES) || !remap_usable() ||
        !atomic_compare_exchange_strong(&due_at, &due, taken + STOCK_RETRY_BYTES) ||
        !remap_begin(&pages))
        return;
    int saved = errno;
    size_t moved = stock(pooled, &pages);
    remap_end();
    if (moved > STOCK_BYTES / 2)
        atomic_store_explicit(&due_at, pages_taken() + STOCK_STEP_BYTES, memory_order_relaxed);
    errno = saved;
}
