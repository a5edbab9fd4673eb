// What is tried of jemalloc at the start, and the pools without it. Each test is a process.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/common/je.h"
#include "pool/common/size_class.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/jemalloc_private/self_test.h"
#include "pool/region/region.h"

#define M ((size_t)1 << 20)

Test(jemalloc_private, the_jemalloc_that_is_linked_passes_its_test)
{
    const char *wrong = je_private_test();

    cr_expect(wrong == NULL, "%s", wrong);
}

static void expect_counts(size_t blocks)
{
    unsigned class = size_class_of(1 * M);
    void *p[64];
    uint64_t taken = pages_taken(), returned = pages_returned();

    for (size_t i = 0; i < blocks; i++)
        p[i] = region_block_new(class, false);
    cr_assert(p[blocks - 1] != NULL);
    cr_expect(ge(u64, pages_taken() - taken, blocks * M));
    for (size_t i = 0; i < blocks; i++)
        region_block_delete((uint32_t)region_unit(p[i]));
    region_purge();
    cr_expect(ge(u64, pages_returned() - returned, blocks * M));
}

Test(jemalloc_private, without_it_the_pools_count_their_pages)
{
    size_class_init();
    je_private_switch_off();
    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    expect_counts(64);
    cr_expect(ge(u64, pages_taken(), pages_returned()));
}

// What was mapped under the wraps is used under the public interface.
Test(jemalloc_private, it_can_be_switched_off_while_jemalloc_is_in_use)
{
    void *small[1000];

    for (int i = 0; i < 500; i++)
        small[i] = je_malloc(100);
    je_private_switch_off();
    for (int i = 500; i < 1000; i++)
        small[i] = je_malloc(100);
    void *large = je_malloc(8 * M);
    cr_assert(small[999] && large);
    cr_expect(eq(sz, je_private_size(large), je_sallocx(large, 0)));
    je_free(large);
    for (int i = 0; i < 1000; i++)
        je_free(small[i]);
    cr_expect(eq(int, je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0), 0));
}

static uint64_t figure_of_dirty(void)
{
    uint64_t epoch = 1;
    size_t pages = 0, len = sizeof pages;

    je_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    je_mallctl("stats.arenas.4096.pdirty", &pages, &len, NULL, 0);
    return pages * 4096;
}

// Of jemalloc's own arenas and of the pools'. Not of one that the program may destroy meanwhile.
Test(jemalloc_private, what_lies_free_is_as_jemalloc_says)
{
    unsigned class = size_class_of(1 * M), other;
    uint64_t before = 0, bytes = 0;
    size_t len = sizeof other;

    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    void *pooled = region_block_new(class, false), *large = je_malloc(3 * M);
    cr_assert(pooled && large);
    cr_assert(je_private_dirty_bytes(region.arena + 1, &before));
    je_free(large);
    region_block_delete((uint32_t)region_unit(pooled));
    cr_assert(je_private_dirty_bytes(region.arena + 1, &bytes));
    cr_expect(gt(u64, bytes, before + 3 * M));
    cr_expect(eq(u64, bytes, figure_of_dirty()));
    cr_assert(eq(int, je_mallctl("arenas.create", &other, &len, NULL, 0), 0));
    cr_expect_not(je_private_dirty_bytes(region.arena + 1, &bytes));
    je_private_switch_off();
    cr_expect_not(je_private_dirty_bytes(other + 1, &bytes));
}

Test(jemalloc_private, nor_of_one_that_it_made_before_the_pools_had_theirs)
{
    unsigned other;
    uint64_t bytes;
    size_t len = sizeof other;

    size_class_init();
    cr_assert(eq(int, je_mallctl("arenas.create", &other, &len, NULL, 0), 0));
    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    cr_expect_not(je_private_dirty_bytes(region.arena + 1, &bytes));
}
