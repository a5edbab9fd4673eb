#include "pool/jemalloc_private/self_test.h"

#include "pool/common/je.h"
#include "pool/jemalloc_private/je_fork.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/region.h"

// Of pages of its own, with each of jemalloc's options; and enough for a thread's event.
#define BLOCK_BYTES ((size_t)128 << 10)

_Atomic pthread_t self_test_thread;

static struct {
    unsigned seen;
    const struct edata *extent; // of the block
    const struct decay *decay;  // of arena 0's dirty pages
    uint64_t *allocated, *deallocated;
} test;

void self_test_saw(enum self_test_wrap wrap, const struct edata *extent)
{
    if (extent == test.extent)
        test.seen |= wrap;
}

// The first is the first arena's, of dirty pages.
void self_test_saw_decay(struct decay *decay)
{
    if (test.decay)
        return;
    test.decay = decay;
    if (pthread_mutex_trylock(&decay->mutex.lock) != 0 && !decay->purging)
        test.seen |= SELF_TEST_LOCKED;
}

void self_test_saw_event(const struct te_ctx *ctx)
{
    if (ctx->current != (ctx->is_alloc ? test.allocated : test.deallocated))
        test.seen |= SELF_TEST_MISTAKEN;
}

void self_test_saw_evict(void)
{
    if (test.decay && test.decay->purging)
        test.seen |= SELF_TEST_EVICTED;
}

static bool find_counters(void)
{
    size_t len = sizeof(uint64_t *);

    return !je_mallctl("thread.allocatedp", &test.allocated, &len, NULL, 0) &&
           !je_mallctl("thread.deallocatedp", &test.deallocated, &len, NULL, 0);
}

static const char *judge_extent(const void *block)
{
    uint64_t *entry = je_private_entry((uintptr_t)block);
    size_t bytes = je_sallocx(block, 0), extent_bytes;

    if (!entry || je_private_size(block) != bytes)
        return "its map of extents differs";
    test.extent = (const struct edata *)(*entry & ((UINT64_C(1) << 48) - EDATA_BYTES));
    extent_bytes = extent_pages(test.extent) * 4096;
    // A page more where cache_oblivious is on.
    if (extent_address(test.extent) != ((uintptr_t)block & ~(uintptr_t)4095) ||
        extent_bytes < bytes || extent_bytes > bytes + 4096)
        return "its extents differ";
    return NULL;
}

static const char *judge_wraps(void)
{
    if (!(test.seen & SELF_TEST_FREED) || !(test.seen & SELF_TEST_KEPT))
        return "extents that become free are not seen";
    if (!(test.seen & SELF_TEST_LOCKED))
        return "its locks of purges differ";
    if (!(test.seen & SELF_TEST_EVICTED))
        return "its purges differ";
    return test.seen & SELF_TEST_MISTAKEN ? "its counters of a thread differ" : NULL;
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

    if (!je_private_is_on() || atomic_load(&self_test_thread))
        return NULL;
    region_enter();
    je_free(je_malloc(1));
    if (find_counters()) {
        atomic_store(&self_test_thread, pthread_self());
        je_jemalloc_prefork();
        je_jemalloc_postfork_parent();
        wrong = try_block();
        atomic_store(&self_test_thread, (pthread_t)0);
    }
    region_leave();
    return wrong;
}
