#include "shim/lowmem/reclaim.h"

#include <stdatomic.h>

#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/pool.h"
#include "pool/region/holes.h"
#include "pool/region/region.h"
#include "pressure/direct_reclaim.h"
#include "pressure/evaluate.h"
#include "shim/clock.h"
#include "shim/jemalloc/guarded.h"

#define FIGURES_MS 5

// Pages that jemalloc keeps for reuse. Its figures cost a visit to each arena, so those that are
// not older than `most_ms` will do.
static uint64_t dirty_bytes(unsigned most_ms)
{
    static _Atomic uint64_t read_ms, bytes;
    uint64_t exact, epoch = 1, now;
    size_t pages = 0, len = sizeof pages;

    if (je_private_dirty_bytes(region.arena + 1, &exact))
        return exact;
    now = clock_now_ms();
    if (now - atomic_load_explicit(&read_ms, memory_order_relaxed) >= most_ms) {
        guarded_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
        guarded_mallctl("stats.arenas.4096.pdirty", &pages, &len, NULL, 0);
        atomic_store_explicit(&read_ms, now, memory_order_relaxed);
        atomic_store_explicit(&bytes, pages * 4096, memory_order_relaxed);
    }
    return atomic_load_explicit(&bytes, memory_order_relaxed);
}

// jemalloc's thread caches can be flushed by their own threads only, so this reaches the caller's;
// those of others hold no request of 1 KiB or more, unless its bucket is off.
size_t reclaim_pages(uint64_t keep_bytes, uint64_t holes_bytes)
{
    uint64_t before = pages_returned();

    guarded_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    // Of what is kept, a part may stay in blocks, ready for their own class; the rest lies with
    // jemalloc as pages, where any size can have them.
    pool_trim(keep_bytes / 4);
    uint64_t held = pool_free_bytes() + dirty_bytes(0);
    if (held > keep_bytes) {
        pages_limit_purge(keep_bytes ? held - keep_bytes : UINT64_MAX);
        guarded_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
        pages_limit_purge(UINT64_MAX);
    }
    if (je_private_is_on())
        return pages_returned() - before + holes_purge(holes_bytes);
    // Not all arenas tell what they give back.
    uint64_t now = pool_free_bytes() + dirty_bytes(0);
    return held > now ? held - now : 0;
}

uint64_t reclaim_held_bytes(void)
{
    return pool_free_bytes() + dirty_bytes(FIGURES_MS);
}

size_t reclaim(uint64_t keep_bytes)
{
    // A handler's call: its thread may hold what that takes.
    if (pool_entered())
        return 0;
    const struct pressure_options *o = evaluate_options();
    return o && o->evaluates ? pressure_reclaim(keep_bytes, PRESSURE_CAUSE_API)
                             : reclaim_pages(keep_bytes, UINT64_MAX);
}

#define TRY_AGAIN_MS 1000

// Grows by what is freed, whether it stays in lists or goes further.
static uint64_t freed_bytes(void)
{
    return reclaim_held_bytes() + atomic_load_explicit(&direct_freed.total, memory_order_relaxed) +
           atomic_load_explicit(&direct_shrunk.total, memory_order_relaxed);
}

bool reclaim_for(size_t bytes)
{
    static _Atomic uint64_t last_ms, freed_then;
    uint64_t now = clock_now_ms(), then = atomic_load_explicit(&freed_then, memory_order_relaxed);

    if (bytes > PTRDIFF_MAX)
        return false;
    if (now - atomic_load_explicit(&last_ms, memory_order_relaxed) < TRY_AGAIN_MS) {
        if (!pressure_may_fit(bytes))
            return false;
        // An eighth: it may lie beside the rest.
        if (freed_bytes() < then + bytes / 8 + 65536)
            return false;
    }
    reclaim(0);
    atomic_store_explicit(&last_ms, clock_now_ms(), memory_order_relaxed);
    atomic_store_explicit(&freed_then, freed_bytes(), memory_order_relaxed);
    return true;
}
