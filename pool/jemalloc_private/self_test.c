#include "pool/jemalloc_private/self_test.h"

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/common/size_class.h"
#include "pool/jemalloc_private/je_fork.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/large_cache.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/jemalloc_private/tcache.h"
#include "pool/jemalloc_private/witness.h"

// Of pages of its own, with each of jemalloc's options; enough for a thread's event; and a page
// more than a size class has.
#define BLOCK_BYTES ((size_t)132 << 10)

void je_private_switch_off(void)
{
    je_private_off = true;
    pages_forget_counts();
}

extern bool je_opt_tcache;

static bool find_counters(void)
{
    size_t len = sizeof(uint64_t *);

    return !je_mallctl("thread.allocatedp", &witness.allocated, &len, NULL, 0) &&
           !je_mallctl("thread.deallocatedp", &witness.deallocated, &len, NULL, 0);
}

// jemalloc's own lookup in its map.
void *je_rtree_leaf_elm_lookup_hard(void *tsdn, void *tree, void *cache, uintptr_t key,
                                    bool dependent, bool init_missing);

// Are there four sizes to a doubling?
static bool sizes_fit(void)
{
    for (size_t size = SIZE_CLASS_MAX_BYTES; size < LARGE_CACHE_MAX_BYTES; size *= 2)
        if (je_nallocx(size + 1, 0) != size + size / 4)
            return false;
    return true;
}

static const char *judge_extent(const void *block)
{
    _Alignas(64) char cache[1024] = {0}; // of lookups, empty; a rtree_ctx_t is 384 bytes
    const uint64_t *entry = je_rtree_leaf_elm_lookup_hard(NULL, je_arena_emap_global, cache,
                                                          (uintptr_t)block, false, false);
    size_t bytes = je_sallocx(block, 0), extent_bytes;

    if (!sizes_fit())
        return "its size classes differ";
    if (!entry || entry != extent_entry((uintptr_t)block) || je_private_size(block) != bytes ||
        *entry & 1)
        return "its map of extents differs";
    witness.extent = extent_of(*entry);
    extent_bytes = extent_pages(witness.extent) * 4096;
    // A page more where cache_oblivious is on.
    if (extent_arena(witness.extent) != 0 ||
        extent_address(witness.extent) != ((uintptr_t)block & ~(uintptr_t)4095) ||
        extent_bytes < bytes || extent_bytes > bytes + 4096)
        return "its extents differ";
    return NULL;
}

static bool tsd_says(struct tsd *tsd, bool has)
{
    bool was = tsd->has_tcache, now = !has;
    size_t len = sizeof now;

    tsd->has_tcache = has;
    je_mallctl("thread.tcache.enabled", &now, &len, NULL, 0);
    tsd->has_tcache = was;
    return now == has;
}

// Does jemalloc say of the thread what its first byte says? Nothing is allocated meanwhile.
static bool tsd_fits(void)
{
    if (!witness.tsd)
        return !je_opt_tcache; // then no event may be due
    return tsd_says(witness.tsd, false) && tsd_says(witness.tsd, true);
}

static const char *judge_wraps(void)
{
    if (!(witness.seen & WITNESS_FREED) || !(witness.seen & WITNESS_KEPT))
        return "extents that become free are not seen";
    if (!(witness.seen & WITNESS_LOCKED))
        return "its locks of purges differ";
    if (!(witness.seen & WITNESS_EVICTED))
        return "its purges differ";
    if (witness.seen & WITNESS_MISTAKEN)
        return "its counters of a thread differ";
    if (!tsd_fits())
        return "its data of a thread differ";
    return tcache_lists_fit() ? NULL : "its lists of free blocks differ";
}

static const char *try_block(void)
{
    const int flags = JE_ARENA(0) | JE_TCACHE_NONE;
    void *block = je_mallocx(BLOCK_BYTES, flags);
    uint64_t returned = pages_returned();
    const char *wrong;
    bool retain = true;
    size_t len = sizeof retain;

    if (!block)
        return NULL;
    wrong = pages_taken() < BLOCK_BYTES ? "pages that it takes are not seen" : judge_extent(block);
    je_dallocx(block, flags);
    pages_limit_purge(BLOCK_BYTES);
    je_mallctl("arena.0.purge", NULL, NULL, NULL, 0);
    pages_limit_purge(UINT64_MAX);
    if (wrong)
        return wrong;
    // Without retained address space they are unmapped.
    je_mallctl("opt.retain", &retain, &len, NULL, 0);
    if (retain && pages_returned() - returned < BLOCK_BYTES)
        return "pages that it gives back are not seen";
    return judge_wraps();
}

const char *je_private_test(void)
{
    const char *wrong = NULL;

    if (!je_private_is_on() || atomic_load(&witness_thread))
        return NULL;
    guard_enter();
    je_free(je_malloc(1));
    if (find_counters()) {
        atomic_store(&witness_thread, pthread_self());
        je_jemalloc_prefork();
        je_jemalloc_postfork_parent();
        wrong = try_block();
        atomic_store(&witness_thread, (pthread_t)0);
    }
    guard_leave();
    return wrong;
}
