// The count of jemalloc's pages, and requests that shall not take any. Both need --wrap at the
// build, and say nothing at all where that is missing.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pool/common/je.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/region.h"

#define K ((size_t)1024)
#define M (K * K)

static bool is_zero(const unsigned char *p, size_t bytes)
{
    return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

static _Atomic size_t heard;

static void hear(size_t bytes)
{
    atomic_fetch_add(&heard, bytes);
}

// Small objects never pass through malloc's slow paths of ours; only the wrap sees their pages.
Test(page_hooks, the_heap_of_small_objects_is_seen_to_grow_and_to_shrink)
{
    enum { OBJECTS = 256 * 1024 };
    static void *p[OBJECTS];
    uint64_t taken = pages_taken(), returned = pages_returned();

    pages_on_take = hear;
    for (int i = 0; i < OBJECTS; i++)
        p[i] = je_malloc(64);
    cr_expect(ge(u64, pages_taken() - taken, 16 * M));
    cr_expect(le(u64, pages_taken() - taken, 32 * M));
    cr_expect(eq(u64, heard, pages_taken() - taken));
    for (int i = 0; i < OBJECTS; i++)
        je_free(p[i]);
    je_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    cr_expect(ge(u64, pages_returned() - returned, 15 * M));
    cr_expect(le(u64, pages_returned() - returned, pages_taken() - taken));
}

Test(page_hooks, what_was_given_back_and_is_taken_again_counts_again)
{
    size_t bytes = 8 * M;
    uint64_t taken;

    je_dallocx(je_mallocx(bytes, JE_TCACHE_NONE), JE_TCACHE_NONE);
    je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    taken = pages_taken();
    unsigned char *p = je_mallocx(bytes, JE_TCACHE_NONE | JE_ZERO);
    cr_assert(p != NULL);
    cr_expect(ge(u64, pages_taken() - taken, bytes));
    cr_expect(is_zero(p, bytes));
}

// Slabs of 3 pages with 4 blocks each: a program that goes on with larger sizes uses their pages.
Test(page_hooks, what_lies_free_side_by_side_is_used_as_one)
{
    enum { BLOCKS = 4096 };
    static void *p[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        p[i] = je_mallocx(3 * K, JE_TCACHE_NONE);
    for (int i = 0; i < BLOCKS; i++)
        je_dallocx(p[i], JE_TCACHE_NONE);
    uint64_t taken = pages_taken();
    for (int i = 0; i < 10; i++)
        p[i] = je_mallocx(1 * M, JE_TCACHE_NONE);
    cr_expect(eq(u64, pages_taken() - taken, 0));
}

static void *region_block(size_t bytes)
{
    return region_block_new(size_class_of(bytes), false);
}

Test(page_hooks, a_frozen_thread_gets_pages_that_lie_free_or_none)
{
    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
    void *fresh = region_block(1 * M), *none, *again;

    // In what the arena took from the region first there is no room for a second one.
    pages_freeze(size_class_run_bytes(size_class_of(1 * M)));
    none = region_block(1 * M);
    region_block_delete((uint32_t)region_unit(fresh));
    again = region_block(1 * M);
    cr_expect(none == NULL, "nothing of that size lies free");
    cr_expect(eq(ptr, again, fresh));
    cr_expect(region_block(512 * K) != NULL, "of other sizes there is");
    pages_freeze(0);
    cr_expect(region_block(1 * M) != NULL);
}

static pthread_barrier_t all_began;

static void *request_frozen(void *arg)
{
    size_t *bytes = arg;
    void *ptr;

    pages_freeze(*bytes);
    ptr = je_malloc(*bytes);
    pages_freeze(0);
    je_free(ptr);
    pthread_barrier_wait(&all_began);
    return NULL;
}

// At a thread's first request jemalloc makes what it keeps for the thread, some 28 KiB, and crashes
// where it does not get them.
Test(page_hooks, threads_whose_first_request_is_frozen_live)
{
    enum { THREADS = 200 };
    pthread_t thread[THREADS];
    size_t bytes = 6 * M;

    pthread_barrier_init(&all_began, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        cr_assert(eq(int, pthread_create(&thread[i], NULL, request_frozen, &bytes), 0));
    for (int i = 0; i < THREADS; i++)
        cr_assert(eq(int, pthread_join(thread[i], NULL), 0));
}
