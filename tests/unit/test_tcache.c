// What a thread's caches hold, as jemalloc counts it, for threads that ask for little, for much,
// and that only free.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "pool/common/je.h"
#include "pool/jemalloc_private/tcache.h"

#define K ((size_t)1024)

// As the library has it (shim/init.c).
extern const char *je_malloc_conf;
const char *je_malloc_conf = "narenas:1,tcache_nslots_small_min:100,tcache_nslots_small_max:352,"
                             "lg_tcache_nslots_mul:4";

#ifndef TIDEPOOL_JE_TCACHE_AT_ONCE

static bool has_caches(void)
{
    bool has = false;
    size_t size = sizeof has;

    cr_assert(eq(int, je_mallctl("thread.tcache.enabled", &has, &size, NULL, 0), 0));
    return has;
}

static size_t figure(const char *name)
{
    size_t value = 0, size = sizeof value;
    uint64_t epoch = 1;

    je_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    cr_assert(eq(int, je_mallctl(name, &value, &size, NULL, 0), 0));
    return value;
}

static size_t cached_bytes(void)
{
    return figure("stats.arenas.0.tcache_bytes");
}

static void in_thread(void *(*run)(void *))
{
    pthread_t thread;

    cr_assert(eq(int, pthread_create(&thread, NULL, run, NULL), 0));
    cr_assert(eq(int, pthread_join(thread, NULL), 0));
}

static void *asks_for_little(void *arg)
{
    void *p[8];

    for (int i = 0; i < 8; i++)
        p[i] = je_malloc(100);
    for (int i = 0; i < 8; i++)
        je_free(p[i]);
    cr_expect(not(has_caches()));
    return arg;
}

Test(tcache, a_thread_that_asks_for_little_has_none)
{
    in_thread(asks_for_little);
}

static void *asks_for_much(void *arg)
{
    for (int i = 0; i < 200; i++)
        je_free(je_malloc(100));
    cr_expect(has_caches());
    return arg;
}

Test(tcache, a_thread_that_asks_for_more_gets_one)
{
    in_thread(asks_for_much);
}

enum { TO_FREE = 1000 };
static void *to_free[TO_FREE];

static void *frees(void *arg)
{
    je_free(je_malloc(1));
    for (int i = 0; i < TO_FREE; i++)
        je_free(to_free[i]);
    cr_expect(has_caches());
    return arg;
}

static void *only_frees(void *arg)
{
    for (int i = 0; i < TO_FREE; i++)
        je_free(to_free[i]);
    cr_expect(has_caches());
    return arg;
}

static void *frees_little(void *arg)
{
    for (int i = 0; i < 70; i++)
        je_free(to_free[i]);
    cr_expect(not(has_caches()));
    return arg;
}

static void make_blocks_for(void *(*run)(void *))
{
    for (int i = 0; i < TO_FREE; i++)
        to_free[i] = je_malloc(100);
    in_thread(run);
}

Test(tcache, a_thread_that_frees_gets_one)
{
    make_blocks_for(frees);
}

// jemalloc's own never gets one.
Test(tcache, a_thread_that_never_allocated_gets_one)
{
    make_blocks_for(only_frees);
}

Test(tcache, a_thread_that_freed_little_has_none)
{
    make_blocks_for(frees_little);
}

static void *never(void *arg)
{
    tcache_never_self();
    tcache_make_self();
    for (int i = 0; i < 1000; i++)
        je_free(je_malloc(100));
    cr_expect(not(has_caches()));
    return arg;
}

Test(tcache, a_thread_that_wants_none_has_none)
{
    in_thread(never);
}

static void *makes_them(void *arg)
{
    je_free(je_malloc(100));
    tcache_make_self();
    cr_expect(has_caches());
    return arg;
}

Test(tcache, a_thread_that_wants_one_has_one)
{
    in_thread(makes_them);
}

// So the next thread's first block of that size lies on the same page.
static void *fills(void *arg)
{
    je_free(je_malloc(1));
    tcache_make_self();
    size_t before = cached_bytes();
    void *p[7];
    p[0] = je_malloc(448);
    cr_expect(eq(sz, cached_bytes() - before, 3 * 448));
    for (int i = 1; i < 5; i++)
        p[i] = je_malloc(448);
    cr_expect(eq(sz, cached_bytes() - before, 11 * 448));
    for (int i = 0; i < 5; i++)
        je_free(p[i]);
    return arg;
}

Test(tcache, a_list_is_filled_with_few_blocks_at_first)
{
    in_thread(fills);
}

// Of each size as much as its list holds, 1.2 MiB in all.
static void *frees_all(void *arg)
{
    enum { BLOCKS = 6000 };
    static void *p[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        p[i] = je_malloc((size_t)(i * 37 % 1000) + 24);
    for (int i = 0; i < BLOCKS; i++)
        je_free(p[i]);
    cr_expect(lt(sz, cached_bytes(), 256 * K));
    return arg;
}

Test(tcache, a_thread_that_only_frees_keeps_little)
{
    in_thread(frees_all);
}

static void *comes_and_goes(void *arg)
{
    for (int i = 0; i < 1000; i++)
        je_free(je_malloc((size_t)(i % 900) + 1));
    return arg;
}

// An arena that is left by its last thread keeps its pages for the next one.
Test(tcache, threads_that_come_and_go_take_no_new_pages)
{
    size_t dirty;

    for (int i = 0; i < 5; i++)
        in_thread(comes_and_goes);
    dirty = figure("stats.arenas.0.pdirty");
    cr_expect(ge(sz, dirty, 16));
}

#endif
