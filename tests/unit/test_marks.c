// What the program marks of the heap's pages is noted page by page, and gone once they are free.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/common/marks.h"
#include "pool/region/program_marks.h"
#include "pool/region/region.h"
#include "pool/region/remap.h"

#define K ((size_t)1024)
#define M (K * K)
#define PAGE ((size_t)4096)

static char *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert(at != MAP_FAILED);
    return at;
}

static char *map_for_heap(size_t size)
{
    char *at = map(size);

    marks_heap_has((uintptr_t)at, size);
    return at;
}

static bool marked(const char *at, size_t size)
{
    return marks_any((uintptr_t)at, size);
}

Test(marks, of_the_heap_only)
{
    char *heap = map_for_heap(4 * M), *other = map(64 * M);

    marks_on_madvise(other, 64 * M, MADV_DONTFORK, true);
    // A piece may lie beside the heap, in its 2 MiB.
    cr_expect(not(marked(other + 4 * M, 32 * M)));
    cr_expect(not(marked(heap, 4 * M)));
    marks_on_madvise(heap + PAGE, 2 * PAGE, MADV_DONTFORK, true);
    cr_expect(not(marked(heap, PAGE)));
    cr_expect(marked(heap + PAGE, PAGE));
    cr_expect(marked(heap + 2 * PAGE, PAGE));
    cr_expect(not(marked(heap + 3 * PAGE, M)));
    cr_expect(marked(heap, 4 * M));
}

// Calls that fail are noted, too: they may have done a part.
Test(marks, of_any_range_take_no_time, .timeout = 20)
{
    char *heap = map_for_heap(4 * M), *top = (char *)~(uintptr_t)8191;

    marks_on_madvise(top, PAGE, MADV_DONTDUMP, false);
    marks_on_madvise((char *)PAGE, (size_t)1 << 62, MADV_DONTDUMP, false);
    marks_on_madvise((char *)PAGE, (size_t)(top - 2 * PAGE), MADV_DONTFORK, false);
    cr_expect(marked(heap, PAGE) && marked(heap + 4 * M - PAGE, PAGE));
}

Test(marks, of_large_blocks_are_gone_in_no_time, .timeout = 20)
{
    const size_t size = 300 * K * M;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

    if (heap == MAP_FAILED)
        cr_skip("no room for %zu GiB of addresses", size / M / K);
    marks_heap_has((uintptr_t)heap, size);
    marks_on_madvise(heap, size, MADV_DONTDUMP, true);
    cr_expect(marked(heap, PAGE) && marked(heap + 200 * K * M, PAGE));
    marks_take_off((uintptr_t)heap, size);
    cr_expect(not(marked(heap, size)));
}

Test(marks, each_call_takes_off_what_it_undoes)
{
    char *at = map_for_heap(M);

    marks_on_madvise(at, M, MADV_DONTFORK, false);
    marks_on_lock(at + 100, 1, true, true);
    marks_on_protect(at, M, PROT_READ, -1, true);
    marks_on_madvise(at, M, MADV_DOFORK, false);
    marks_on_protect(at, M, PROT_READ | PROT_WRITE, -1, true);
    cr_expect(marked(at + PAGE, PAGE), "what failed undid nothing");
    marks_on_madvise(at, M, MADV_DOFORK, true);
    cr_expect(not(marked(at + PAGE, M - PAGE)));
    cr_expect(marked(at, PAGE));
    marks_on_lock(at, M, false, true);
    cr_expect(not(marked(at, M)));
}

Test(marks, a_key_outlasts_mprotect)
{
    char *at = map_for_heap(M);

    marks_on_protect(at, M, PROT_READ | PROT_WRITE, 1, true);
    marks_on_protect(at, M, PROT_READ | PROT_WRITE, -1, true);
    cr_expect(marked(at, M));
    marks_on_protect(at, M, PROT_READ | PROT_WRITE, 0, true);
    cr_expect(not(marked(at, M)));
}

Test(marks, pages_that_become_free_are_new_and_their_neighbours_are_not)
{
    char *at = map_for_heap(M);

    memset(at, 5, M);
    cr_assert(mprotect(at + 8 * PAGE, 4 * PAGE, PROT_READ) == 0);
    marks_on_protect(at + 8 * PAGE, 4 * PAGE, PROT_READ, -1, true);
    marks_take_off((uintptr_t)at, 10 * PAGE);
    cr_expect(not(marked(at, 10 * PAGE)));
    cr_expect(marked(at + 10 * PAGE, 2 * PAGE));
    at[8 * PAGE] = 1;
    cr_expect(eq(chr, at[7 * PAGE], 5));
    cr_expect(eq(chr, at[10 * PAGE], 5));
    marks_take_off((uintptr_t)at, M);
    cr_expect(not(marked(at, M)));
    at[10 * PAGE] = 1;
}

// More GiB than there are tables: what has none is not noted, and nothing breaks.
Test(marks, very_many_gibibytes)
{
    for (uintptr_t gib = 0; gib < 400; gib++) {
        uintptr_t at = (gib + 4096) << 30;
        marks_heap_has(at, M);
        marks_on_madvise((void *)at, M, MADV_DONTFORK, true);
        cr_expect(eq(int, marks_any(at, M), gib < 256), "%lu", gib);
    }
}

Test(marks, a_pooled_block_with_marks_goes_past_the_lists)
{
    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
    char *small = region_block_new(size_class_of(2000), false);
    char *block = region_block_new(size_class_of(64 * K), false);
    char *next = region_block_new(size_class_of(64 * K), false);

    marks_on_madvise(small, 2000, MADV_WIPEONFORK, true);
    cr_expect(region_is_live(small), "it has no page of its own");
    marks_on_madvise(block + 32 * K, PAGE, MADV_WIPEONFORK, true);
    cr_expect(region_is_sampled(block));
    cr_expect(not(region_is_live(block)));
    cr_expect(region_is_live(next));
    region_block_delete((uint32_t)region_unit(block));
    cr_expect(not(marked(block + 32 * K, PAGE)));
}

Test(marks, marked_pages_do_not_move)
{
    struct remap r = {0};
    char *from = map_for_heap(M), *to = map(M);

    remap_allow(NULL);
    memset(from, 5, M);
    marks_on_lock(from, 1, true, true);
    r.to = (uintptr_t)to, r.end = r.to + M;
    cr_assert(remap_begin(&r));
    cr_expect(eq(sz, remap_take((uintptr_t)from, M / 2), 0));
    cr_expect(eq(sz, remap_take((uintptr_t)from + M / 2, M / 2), M / 2));
    remap_end();
    cr_expect(eq(chr, from[0], 5));
}
