// The region and the map of its blocks, without lists: what is a block, where it begins, and that
// what goes back to jemalloc can be had again.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/common/je.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/holes.h"
#include "pool/region/region.h"

#define K ((size_t)1024)
#define M (K * K)

static void init(void)
{
    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
}

TestSuite(region, .init = init);

static uint32_t unit_of(const void *ptr)
{
    return (uint32_t)region_unit(ptr);
}

static bool is_zero(const unsigned char *p, size_t bytes)
{
    return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

Test(region, a_block_of_every_class_is_in_the_region_aligned_and_its_own)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++) {
        unsigned char *p = region_block_new(class, false);
        cr_assert(p && region_holds(p) && region_holds(p + size_class_bytes(class) - 1));
        cr_expect(eq(uptr, (uintptr_t)p % 64, 0));
        cr_expect(region_is_live(p));
        cr_expect(eq(uint, region_entry_at(p)->class, class));
        cr_expect(region_entry_at(p) == region_entry(unit_of(p)));
        cr_expect(eq(ptr, region_address(unit_of(p)), (void *)p));
        if (!size_class_is_coloured(class) && size_class_bytes(class) % 4096 == 0)
            cr_expect(eq(uptr, (uintptr_t)p % 4096, 0), "%zu bytes", size_class_bytes(class));
        memset(p, 0xa5, size_class_bytes(class));
        cr_expect(eq(u64, region_created(class), 1));
    }
}

Test(region, neighbours_do_not_overlap)
{
    enum { BLOCKS = 500 };
    static unsigned char *p[BLOCKS];
    static unsigned class[BLOCKS];

    for (unsigned i = 0; i < BLOCKS; i++) {
        class[i] = 1 + (i * 7) % SIZE_CLASS_COUNT;
        p[i] = region_block_new(class[i], false);
        cr_assert(p[i] != NULL);
        memset(p[i], (int)(i % 251), size_class_bytes(class[i]));
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t bytes = size_class_bytes(class[i]);
        if (p[i][0] != i % 251 || memcmp(p[i], p[i] + 1, bytes - 1) != 0)
            cr_fail("block %u of %zu bytes was written by another", i, bytes);
        region_block_delete(unit_of(p[i]));
    }
}

Test(region, coloured_blocks_begin_on_many_lines_and_stay_inside_their_run)
{
    unsigned class = size_class_of(16 * K - 1024), lines = 0;

    cr_assert(size_class_is_coloured(class));
    for (int i = 0; i < 64; i++) {
        uintptr_t p = (uintptr_t)region_block_new(class, false);
        cr_assert(p && p % 4096 <= 15 * 64);
        lines |= 1u << (p % 4096 / 64);
    }
    cr_expect(eq(int, __builtin_popcount(lines), 16), "lines %x", lines);
}

// Written to from end to end, then trimmed: no page more than the request itself needs stays.
Test(region, a_trimmed_block_keeps_no_page_that_its_request_does_not_need)
{
    for (size_t size = 16 * K; size <= 1 * M; size += 1013 + size / 64) {
        unsigned class = size_class_of(size);
        unsigned char *p = region_block_new(class, false);
        char *page = (char *)((uintptr_t)p & ~(uintptr_t)4095);
        size_t run = size_class_run_bytes(class), resident = 0;
        static unsigned char there[1 << 8];

        memset(page, 1, run);
        p = region_block_trim(p, size);
        cr_assert(region_is_live(p) && (uintptr_t)p % 64 == 0);
        cr_assert(page <= (char *)p && (char *)p + size_class_bytes(class) <= page + run);
        cr_expect(p[0] == 1 && p[size - 1] == 1, "%zu: and none that it does", size);
        cr_assert(eq(int, mincore(page, run, there), 0));
        for (size_t i = 0; i < (run + 4095) / 4096; i++)
            resident += there[i] & 1;
        cr_expect(eq(sz, resident, (size + 4095) / 4096), "of %zu", size);
    }
}

static bool resize(void *p, size_t size)
{
    unsigned class = region_class_in_place(p, size);

    return class && region_block_resize(p, class);
}

// From each class to each, and back: the block stays where it is and what it holds; its neighbour
// behind keeps it from growing, or it grows into what was free.
Test(region, a_block_is_resized_in_place)
{
    unsigned grown = 0;

    for (size_t from = 20 * K; from <= 1 * M; from += 7 * K + from / 16)
        for (size_t to = 17 * K; to < from; to += 5 * K + to / 8) {
            unsigned old = size_class_of(from);
            unsigned char *p = region_block_new(old, false);
            uint64_t created = region_created(old), released = region_released(old);
            memset(p, 0x5a, from);
            cr_assert(resize(p, to), "%zu to %zu", from, to);
            unsigned class = region_entry_at(p)->class;
            cr_expect(region_is_live(p) && size_class_bytes(class) >= to);
            cr_expect(le(sz, size_class_bytes(class), to + to / 4 + 2 * K), "for %zu", to);
            cr_expect(size_class_is_coloured(class) || (uintptr_t)p % 4096 == 0);
            if (class != old)
                cr_expect(region_created(old) - region_released(old) == created - released - 1);
            memset(p, 0x5a, size_class_bytes(class));
            if (resize(p, from)) {
                grown++;
                class = region_entry_at(p)->class;
                cr_expect(ge(sz, size_class_bytes(class), from));
                cr_expect(p[0] == 0x5a && memcmp(p, p + 1, to - 1) == 0);
                memset(p, 0x5a, size_class_bytes(class));
            }
            region_block_delete(unit_of(p));
        }
    cr_expect(gt(uint, grown, 0));
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++)
        cr_expect(eq(u64, region_created(class), region_released(class)), "class %u", class);
}

static _Atomic bool resized;

static void *grow_to_40(void *p)
{
    bool grown = resize(p, 40 * K);

    atomic_store(&resized, true);
    return grown ? p : NULL;
}

// The pages behind may have been a slab's, which the purge of holes is about to give back.
Test(region, a_block_that_grows_waits_for_the_purge_of_holes)
{
    char *p = region_block_new(size_class_of(40 * K), false);
    pthread_t thread;
    void *grown;

    cr_assert(resize(p, 20 * K));
    atomic_store(&holes_window, ((uintptr_t)p + 32 * K) & ~(uintptr_t)4095);
    cr_assert(eq(int, pthread_create(&thread, NULL, grow_to_40, p), 0));
    usleep(50000);
    cr_expect(not(atomic_load(&resized)));
    atomic_store(&holes_window, 0);
    pthread_join(thread, &grown);
    cr_expect(eq(ptr, grown, p));
}

Test(region, a_block_does_not_grow_over_its_neighbour)
{
    enum { BLOCKS = 64 };
    unsigned class = size_class_of(64 * K);
    unsigned char *p[BLOCKS];
    unsigned grown = 0;

    for (unsigned i = 0; i < BLOCKS; i++) {
        p[i] = region_block_new(class, false);
        memset(p[i], (int)i, size_class_bytes(class));
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        grown += resize(p[i], 96 * K);
    cr_expect(lt(uint, grown, 2));
    for (unsigned i = 0; i < BLOCKS; i++)
        cr_expect(p[i][0] == i && memcmp(p[i], p[i] + 1, 64 * K - 1) == 0, "block %u", i);
}

Test(region, what_cannot_be_resized_stays_as_it_is)
{
    unsigned small = size_class_of(12 * K), large = size_class_of(64 * K);
    unsigned char *p = region_block_new(small, false), *q = region_block_new(large, false);

    cr_expect(not(resize(p, 8 * K)));
    cr_expect(not(resize(p, 32 * K)));
    cr_expect(not(resize(q, 8 * K)));
    cr_expect(not(resize(q, 1 * M + 1)));
    region_mark_sampled(q);
    cr_expect(not(resize(q, 32 * K)));
    region_mark_sampled(q);
    cr_expect(eq(uint, region_entry_at(p)->class, small));
    cr_expect(eq(uint, region_entry_at(q)->class, large));
    cr_expect(resize(q, 32 * K));
    cr_expect(not(resize(q + 64, 20 * K)));
}

Test(region, what_is_no_start_of_a_block_is_not_live)
{
    static const size_t size[] = {1 * K, 4 * K, 15 * K, 16 * K, 60 * K, 1 * M};

    for (unsigned i = 0; i < array_len(size); i++) {
        unsigned class = size_class_of(size[i]);
        char *p = region_block_new(class, false);
        cr_assert(p && region_is_live(p));
        for (size_t at = 1; at < size_class_bytes(class); at += at < 2 * K ? 1 : 61)
            if (region_is_live(p + at))
                cr_fail("%zu into a block of %zu", at, size_class_bytes(class));
        region_block_delete(unit_of(p));
        cr_expect(not(region_is_live(p)));
    }
}

Test(region, its_two_ends_are_no_blocks)
{
    char *base = (char *)region.base;

    cr_expect(region_holds(base) && region_holds(base + region.bytes - 1));
    cr_expect(not(region_holds(base - 1)));
    cr_expect(not(region_holds(base + region.bytes)));
    cr_expect(not(region_holds(NULL)));
    cr_expect(not(region_is_live(base)));
    cr_expect(not(region_is_live(base + 64)));
    cr_expect(not(region_is_live(base + region.bytes - 64)));
    cr_expect(not(region_is_live(base + region.bytes / 2)));
    // Unaligned, so that the bits shifted out come back at the top.
    cr_expect(region_unit(base + 1) >> 32 != 0);
}

Test(region, blocks_asked_for_as_zero_are_even_where_used_before)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++)
        for (int round = 0; round < 3; round++) {
            unsigned char *p = region_block_new(class, true);
            cr_assert(p != NULL);
            if (!is_zero(p, size_class_bytes(class)))
                cr_fail("%zu bytes, round %d", size_class_bytes(class), round);
            memset(p, 0xff, size_class_bytes(class));
            region_block_delete(unit_of(p));
            if (round == 1)
                region_purge();
        }
}

Test(region, counts_what_comes_and_goes_and_leaves_errno_alone)
{
    unsigned class = size_class_of(5 * K);
    void *p[10];

    errno = ERANGE;
    for (int i = 0; i < 10; i++)
        p[i] = region_block_new(class, false);
    for (int i = 0; i < 4; i++)
        region_block_delete(unit_of(p[i]));
    region_purge();
    cr_expect(eq(int, errno, ERANGE));
    cr_expect(eq(u64, region_created(class), 10));
    cr_expect(eq(u64, region_released(class), 4));
    cr_expect(eq(u64, region_created(class + 1), 0));
}

// The figures of a purge come from inside jemalloc's own structures, as the build's version has
// them.
Test(region, a_limited_purge_ends_once_it_gave_that_much)
{
    unsigned class = size_class_of(1 * M);
    void *p[32], *apart[32];

    // Between two blocks that stay, so that each is an extent of its own.
    for (int i = 0; i < 32; i++) {
        p[i] = region_block_new(class, false);
        apart[i] = region_block_new(class, false);
        memset(p[i], 1, 4 * K);
        memset(apart[i], 1, 4 * K);
    }
    for (int i = 0; i < 32; i++)
        region_block_delete(unit_of(p[i]));
    uint64_t before = pages_returned();
    pages_limit_purge(8 * M);
    region_purge();
    cr_expect(ge(u64, pages_returned() - before, 8 * M));
    cr_expect(lt(u64, pages_returned() - before, 10 * M));
    pages_limit_purge(0);
    uint64_t limited = pages_returned();
    region_purge();
    cr_expect(eq(u64, pages_returned(), limited));
    pages_limit_purge(UINT64_MAX);
    region_purge();
    cr_expect(ge(u64, pages_returned() - before, 32 * M));
}

// jemalloc takes from the region in growing pieces, and the first are smaller than what is
// forgotten.
Test(region, a_large_purge_forgets_what_was_there)
{
    unsigned class = size_class_of(1 * M), forgotten = 0;
    void *p[128];

    for (int i = 0; i < 128; i++)
        p[i] = region_block_new(class, false);
    for (int i = 0; i < 128; i++)
        region_block_delete(unit_of(p[i]));
    region_purge();
    for (int i = 0; i < 128; i++) {
        forgotten += region_entry_at(p[i])->class == 0;
        cr_expect(not(region_is_live(p[i])));
    }
    cr_expect(ge(uint, forgotten, 64));
}

// A million blocks' worth of turnover in a small space: jemalloc uses what it was given again.
Test(region, address_space_is_used_again)
{
    unsigned class = size_class_of(1 * M);
    uintptr_t highest = 0;

    for (int i = 0; i < 2000; i++) {
        uintptr_t p = (uintptr_t)region_block_new(class, false);
        cr_assert(p != 0);
        if (p - region.base > highest)
            highest = p - region.base;
        region_block_delete(unit_of((void *)p));
        if (i % 100 == 0)
            region_purge();
    }
    cr_expect(lt(sz, highest, 64 * M));
}

static void *make_and_delete(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < 20000; i++) {
        unsigned class = 1 + (unsigned)rand_r(&seed) % 30;
        unsigned char *p = region_block_new(class, false);
        if (!p || !region_is_live(p))
            return arg;
        memset(p, (int)seed, 64);
        region_block_delete(unit_of(p));
    }
    return NULL;
}

Test(region, eight_threads_make_and_delete)
{
    pthread_t t[8];
    uint64_t created = 0, released = 0;

    for (uintptr_t i = 0; i < 8; i++)
        cr_assert(eq(int, pthread_create(&t[i], NULL, make_and_delete, (void *)(i + 1)), 0));
    for (int i = 0; i < 8; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        cr_expect(eq(ptr, failed, NULL));
    }
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++)
        created += region_created(class), released += region_released(class);
    cr_expect(eq(u64, created, 160000));
    cr_expect(eq(u64, released, 160000));
}

// These make their own region, or none.
TestSuite(region_limits, .init = size_class_init);

static size_t mapped_bytes(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    cr_assert(f && fscanf(f, "%zu", &pages) == 1);
    fclose(f);
    return pages * 4096;
}

// A region that takes blocks until there are no more; how many of 1 MiB, and the last.
static size_t fill_region(void **last)
{
    size_t blocks = 0;

    errno = ERANGE;
    for (void *p; (p = region_block_new(size_class_of(1 * M), false)); blocks++)
        *last = p;
    cr_expect(eq(int, errno, ERANGE));
    return blocks;
}

// The base block of jemalloc's arena, and what it rounds off, are not for blocks.
static void expect_a_quarter(size_t limit_bytes)
{
    void *last = NULL;
    size_t blocks = fill_region(&last);

    cr_expect(le(sz, blocks * M, limit_bytes / 4));
    cr_expect(ge(sz, blocks * M, limit_bytes / 4 * 7 / 8), "%zu blocks", blocks);
    region_block_delete(unit_of(last));
    cr_expect(eq(ptr, region_block_new(size_class_of(1 * M), false), last));
}

static int limited[] = {RLIMIT_AS, RLIMIT_DATA};

static void limit_to(int resource, size_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};

#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("AddressSanitizer needs more address space than that itself");
#endif
    cr_assert(eq(int, setrlimit(resource, &limit), 0));
}

ParameterizedTestParameters(region_limits, it_takes_a_quarter_of_a_limit_at_most)
{
    return cr_make_param_array(int, limited, array_len(limited));
}

ParameterizedTest(int *resource, region_limits, it_takes_a_quarter_of_a_limit_at_most)
{
    limit_to(*resource, 2048 * M);
    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    expect_a_quarter(2048 * M);
}

ParameterizedTestParameters(region_limits, also_of_one_that_is_set_while_it_is_used)
{
    return cr_make_param_array(int, limited, array_len(limited));
}

ParameterizedTest(int *resource, region_limits, also_of_one_that_is_set_while_it_is_used)
{
    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    cr_assert(region_block_new(size_class_of(1 * M), false) != NULL);
    limit_to(*resource, 2048 * M);
    expect_a_quarter(2048 * M);
    limit_to(*resource, RLIM_INFINITY);
    cr_expect(region_block_new(size_class_of(1 * M), false) != NULL, "and grows on without");
}

Test(region_limits, nothing_is_mapped_that_is_not_needed)
{
    size_t before = mapped_bytes();

    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    cr_expect(region_block_new(size_class_of(1 * M), false) != NULL);
    // jemalloc's first chunks, and 2 MiB of its map of extents for each GiB of addresses in use.
    cr_expect(le(sz, mapped_bytes() - before, 12 * M));
    before = mapped_bytes();
    for (int i = 0; i < 100; i++)
        cr_expect(region_block_new(size_class_of(1 * M), false) != NULL);
    cr_expect(le(sz, mapped_bytes() - before, 135 * M), "with what is too small for one more");
}

Test(region_limits, while_a_fork_is_under_way_nothing_is_mapped)
{
    void *last = NULL;

    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    cr_assert(region_block_new(size_class_of(1 * M), false) != NULL);
    region_prefork();
    size_t before = region.bytes;
    fill_region(&last);
    cr_expect(eq(sz, region.bytes, before));
    region_postfork_parent();
    cr_expect(region_block_new(size_class_of(1 * M), false) != NULL);
    cr_expect(gt(sz, region.bytes, before));
}

Test(region_limits, a_mapping_in_its_way_ends_its_growth_and_stays_as_it_was)
{
    void *last = NULL;

    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    char *wall = (char *)region.base + region.bytes + 8 * M;
    cr_assert(mmap(wall, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                   0) == wall);
    *wall = 7;
    size_t blocks = fill_region(&last);
    cr_expect(le(sz, blocks, 16));
    cr_expect(ge(sz, blocks, 4));
    cr_expect(eq(chr, *wall, 7));
    cr_expect(not(region_holds(wall)));
    munmap(wall, 4096);
    cr_expect(region_block_new(size_class_of(1 * M), false) != NULL, "when it is gone, too");
}

// What counts as the region's is not for others to map: a block there would pass for a pooled one.
Test(region, nothing_else_lies_before_the_first_block)
{
    cr_assert(region_init(REGION_THP_NEVER) == 0);
    for (size_t at = 0; at < 2 * M; at += M / 4)
        cr_expect(mmap((char *)region.base + at, 4096, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
}

// What the last page before a wall leaves room for is used to the page.
Test(region_limits, every_entry_of_a_mapped_block_is_mapped)
{
    void *last = NULL;

    cr_assert(eq(int, region_init(REGION_THP_NEVER), 0));
    char *wall = (char *)region.base + region.bytes + 3 * M + 12 * K;
    cr_assert(mmap(wall, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == wall);
    fill_region(&last);
    cr_expect(not(region_is_live((char *)region.base + region.bytes - 64)));
    cr_expect(eq(u32, region_note((char *)region.base + region.bytes - 64), 0));
}

static _Atomic bool done;

static void *ask_in_vain(void *arg)
{
    while (!atomic_load(&done))
        region_block_new(size_class_of(1 * M), false);
    return arg;
}

// One fork in forty met a thread that held the region's lock, and its child hung.
Test(region_limits, a_child_of_a_fork_is_served_however_many_ask_a_full_region, .timeout = 120)
{
    pthread_t t[3];
    int hung = 0;

    limit_to(RLIMIT_AS, 400 * M);
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
    for (int i = 0; i < 3; i++)
        cr_assert(eq(int, pthread_create(&t[i], NULL, ask_in_vain, NULL), 0));
    for (int i = 0; i < 200 && !hung; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            region_postfork_child();
            region_block_new(size_class_of(1 * M), false);
            _exit(0);
        }
        waitpid(pid, &status, 0);
        hung = status != 0;
    }
    atomic_store(&done, true);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    cr_expect(eq(int, hung, 0));
}

Test(region_limits, without_room_there_is_no_region_and_nothing_belongs_to_it)
{
    limit_to(RLIMIT_AS, 200 * M);
    cr_expect(eq(int, region_init(REGION_THP_DEFAULT), -ENOMEM));
    cr_expect(eq(sz, region.bytes, 0));
    cr_expect(not(region_holds(&errno)));
    cr_expect(not(region_holds(NULL)));
}
