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
