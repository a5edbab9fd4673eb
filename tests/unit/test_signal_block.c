// Blocks for signal handlers, and what a handler may do while its thread is inside jemalloc.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/region/region.h"
#include "pool/region/signal_block.h"

#define K ((size_t)1024)
#define M (K * K)

static bool is_zero(const unsigned char *p, size_t bytes)
{
    return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

Test(signal_block, is_zero_aligned_and_as_large_as_jemallocs)
{
    for (size_t size = 1; size <= 8 * M; size += 1 + size / 3)
        for (unsigned lg = 0; lg <= 21; lg += 3) {
            unsigned char *p = signal_block_new(size, (size_t)1 << lg);
            cr_assert(p != NULL);
            cr_expect(eq(uptr, (uintptr_t)p & (((uintptr_t)1 << lg) - 1), 0));
            cr_expect(ge(sz, signal_block_size(p), je_nallocx(size, JE_ALIGN_LG(lg))));
            cr_expect(is_zero(p, size));
            memset(p, 0xff, signal_block_size(p));
            cr_expect(signal_block_delete(p));
        }
}

Test(signal_block, is_one_only_at_its_start_and_only_until_it_is_deleted)
{
    char *p = signal_block_new(3 * 4 * K, 1), *q = je_aligned_alloc(4096, 4096);

    cr_expect(eq(sz, signal_block_size(p), 12 * K));
    cr_expect(eq(sz, signal_block_size(p + 4096), 0));
    cr_expect(eq(sz, signal_block_size(p + 64), 0));
    cr_expect(eq(sz, signal_block_size(q), 0));
    cr_expect(eq(sz, signal_block_size(NULL), 0));
    cr_expect(not(signal_block_delete(p + 4096)));
    cr_expect(not(signal_block_delete(NULL)));
    cr_expect(signal_block_delete(p));
    cr_expect(not(signal_block_delete(p)));
    je_free(q);
}

Test(signal_block, what_no_address_space_holds_is_refused_and_errno_left_alone)
{
    errno = ERANGE;
    cr_expect(eq(ptr, signal_block_new(SIZE_MAX, 1), NULL));
    cr_expect(eq(ptr, signal_block_new(PTRDIFF_MAX, 1), NULL));
    cr_expect(eq(ptr, signal_block_new((size_t)1 << 47, 1), NULL));
    cr_expect(eq(ptr, signal_block_new(1, (size_t)1 << 62), NULL));
    cr_expect(eq(int, errno, ERANGE));
}

static void *make_and_delete(void *failed)
{
    static _Thread_local void *p[200];

    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < array_len(p); i++)
            p[i] = signal_block_new(1 + i * 97, 1);
        for (size_t i = 0; i < array_len(p); i++)
            if (!p[i] || !signal_block_size(p[i]) || !signal_block_delete(p[i]))
                return failed;
    }
    return NULL;
}

Test(signal_block, threads_make_and_delete)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        cr_assert(eq(int, pthread_create(&t[i], NULL, make_and_delete, t), 0));
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        cr_expect(eq(ptr, failed, NULL));
    }
}

static unsigned class;
static void *block;

static void init(void)
{
    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
    class = size_class_of(20 * K);
    block = region_block_new(class, false);
    cr_assert(block != NULL);
}

TestSuite(inside, .init = init);

Test(inside, there_are_no_new_blocks_and_freed_ones_wait_until_the_thread_leaves)
{
    void *small = je_malloc(8);

    guard_pass();
    cr_expect(guard_entered());
    cr_expect(eq(ptr, region_block_new(class, false), NULL));
    cr_expect(eq(ptr, region_run_new(100, 16, false), NULL));
    region_block_delete((uint32_t)region_unit(block));
    guard_defer(small);
    cr_expect(not(region_is_live(block)));
    cr_expect(eq(u64, region_released(class), 0));
    guard_leave();
    cr_expect(not(guard_entered()));
    cr_expect(eq(u64, region_released(class), 1));
    cr_expect(eq(ptr, je_malloc(8), small), "jemalloc has it, too");
}

// As a callback of jemalloc's does; what a handler leaves meanwhile is not forgotten.
Test(inside, a_thread_that_steps_out_may_enter_again)
{
    guard_pass();
    sig_atomic_t was = guard_step_out();
    cr_expect(not(guard_entered()));
    cr_expect(region_block_new(class, false) != NULL);
    guard_step_in(was);
    cr_expect(guard_entered());
    region_block_delete((uint32_t)region_unit(block));
    guard_leave();
    cr_expect(eq(u64, region_released(class), 1));

    guard_enter();
    was = guard_step_out();
    cr_expect(guard_entered(), "not where jemalloc holds locks");
    guard_step_in(was);
    guard_leave();
    cr_expect(not(guard_entered()));
}
