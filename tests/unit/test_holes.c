// Whole pages of free blocks go back, out of slabs that are in use; what lives beside them stays as
// it is, while threads take and free blocks on the same pages.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/common/marks.h"
#include "pool/region/holes.h"
#include "pool/region/program_marks.h"
#include "pool/region/region.h"

#define K ((size_t)1024)
#define PAGE ((size_t)4096)

enum { BLOCKS = 1024, SLAB_CLASSES = 16, THREADS = 4, TURNS = 40000, SLOTS = 256 };

static void init(void)
{
    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
}

TestSuite(holes, .init = init);

static unsigned char *block[BLOCKS];

static size_t resident(const void *at, size_t bytes)
{
    static unsigned char in[4096];
    uintptr_t from = (uintptr_t)at & -PAGE, to = ((uintptr_t)at + bytes + PAGE - 1) & -PAGE;
    size_t pages = 0;

    cr_assert(le(sz, (to - from) / PAGE, sizeof in));
    cr_assert(eq(int, mincore((void *)from, to - from, in), 0));
    for (size_t i = 0; i < (to - from) / PAGE; i++)
        pages += in[i] & 1;
    return pages * PAGE;
}

static void take_all(unsigned class)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        block[i] = region_block_new(class, false);
        cr_assert(block[i] != NULL);
        memset(block[i], (int)(i % 251), size_class_bytes(class));
    }
}

// All but each one in sixteen: at least one in every slab.
static void free_most(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        if (i % 16)
            region_block_delete((uint32_t)region_unit(block[i]));
}

static bool is_whole(unsigned i, size_t bytes)
{
    return block[i][0] == i % 251 && !memcmp(block[i], block[i] + 1, bytes - 1);
}

static size_t all_resident(unsigned class)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < BLOCKS; i += 16)
        bytes += resident(block[i], size_class_bytes(class));
    return bytes;
}

Test(holes, go_back_in_every_class_of_slabs_and_live_neighbours_stay)
{
    uint64_t ever = 0;

    for (unsigned class = 1; class <= SLAB_CLASSES; class ++) {
        size_t bytes = size_class_bytes(class);
        take_all(class);
        cr_expect(eq(u64, holes_purge(UINT64_MAX), 0), "class %u: there is none yet", class);
        free_most();
        uint64_t got = holes_purge(UINT64_MAX);
        // A live block and its share of the pages that it begins and ends on; where slabs have but
        // few blocks, most go back whole, and are no holes.
        if (bytes < 4 * K && bytes % K)
            cr_expect(ge(u64, got, BLOCKS / 16 * PAGE), "class %u: %lu bytes", class, got);
        cr_expect(eq(u64, holes_purge(UINT64_MAX), 0), "class %u: none is left", class);
        for (unsigned i = 0; i < BLOCKS; i += 16)
            cr_assert(is_whole(i, bytes), "class %u: block %u has changed", class, i);
        cr_expect(ge(sz, all_resident(class), BLOCKS / 16 * bytes));
        ever += got;
        cr_expect(eq(u64, holes_purged(), ever));
    }
}

// 1792 bytes: sixteen blocks in a slab of seven pages.
#define CLASS 4

Test(holes, are_not_resident_any_more)
{
    size_t before, after;

    take_all(CLASS);
    unsigned char *low = block[0], *high = block[0];
    for (unsigned i = 0; i < BLOCKS; i++) {
        low = block[i] < low ? block[i] : low;
        high = block[i] > high ? block[i] : high;
    }
    free_most();
    before = resident(low, (size_t)(high - low));
    uint64_t got = holes_purge(UINT64_MAX);
    after = resident(low, (size_t)(high - low));
    cr_expect(eq(sz, before - after, got));
    cr_expect(lt(sz, after, before / 2));
}

Test(holes, give_no_more_than_a_window_beyond_what_was_asked_for)
{
    take_all(CLASS);
    free_most();
    uint64_t some = holes_purge(1), rest = holes_purge(UINT64_MAX);
    cr_expect(gt(u64, some, 0));
    cr_expect(le(u64, some, 240 * K));
    cr_expect(gt(u64, rest, some));
}

static size_t told;

static void tell(size_t bytes)
{
    told += bytes;
}

Test(holes, that_are_filled_again_are_counted_and_can_go_again)
{
    take_all(CLASS);
    free_most();
    uint64_t first = holes_purge(UINT64_MAX);
    holes_on_refill = tell;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (i % 16) {
            block[i] = region_block_new(CLASS, false);
            memset(block[i], (int)(i % 251), size_class_bytes(CLASS));
        }
    cr_expect(ge(u64, told, first));
    cr_expect(eq(u64, holes_purge(UINT64_MAX), 0));
    free_most();
    cr_expect(gt(u64, holes_purge(UINT64_MAX), first / 2));
}

Test(holes, stay_where_blocks_are_on_lists)
{
    take_all(CLASS);
    for (unsigned i = 0; i < BLOCKS; i++)
        if (i % 16)
            cr_assert(eq(int, region_claim(block[i]), REGION_LIVE));
    cr_expect(eq(u64, holes_purge(UINT64_MAX), 0));
}

Test(holes, stay_where_the_program_has_marked_them)
{
    take_all(CLASS);
    for (unsigned i = 0; i < BLOCKS; i++)
        marks_on_madvise((void *)((uintptr_t)block[i] & -PAGE), PAGE, MADV_DONTFORK, true);
    free_most();
    cr_expect(eq(u64, holes_purge(UINT64_MAX), 0));
}

Test(holes, with_zeros_are_zero_again)
{
    take_all(CLASS);
    free_most();
    cr_assert(gt(u64, holes_purge(UINT64_MAX), 0));
    for (unsigned i = 0; i < BLOCKS; i++) {
        unsigned char *p = region_block_new(CLASS, true);
        cr_assert(p && p[0] == 0 && !memcmp(p, p + 1, size_class_bytes(CLASS) - 1));
        memset(p, 1, size_class_bytes(CLASS));
    }
}

static _Atomic bool done;

static void fill(unsigned char *p, size_t bytes, uint64_t seed)
{
    for (size_t at = 0; at + 8 <= bytes; at += 256)
        *(uint64_t *)(void *)(p + at) = seed + at;
}

static void check(const unsigned char *p, size_t bytes, uint64_t seed)
{
    for (size_t at = 0; at + 8 <= bytes; at += 256)
        if (*(const uint64_t *)(const void *)(p + at) != seed + at)
            abort(); // no thread but the first may fail a test
}

static void *churn(void *arg)
{
    struct {
        unsigned char *at;
        unsigned class;
        uint64_t seed;
    } slot[SLOTS] = {0};
    uint64_t random = (uintptr_t)arg + 1;

    for (unsigned turn = 0; turn < TURNS; turn++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        unsigned i = (unsigned)(random >> 40) % SLOTS;
        if (slot[i].at) {
            check(slot[i].at, size_class_bytes(slot[i].class), slot[i].seed);
            region_block_delete((uint32_t)region_unit(slot[i].at));
        }
        // Slabs become large blocks now and then, and large blocks slabs.
        slot[i].class = 1 + (unsigned)(random >> 33) % (turn % 8 ? 4 : 24);
        slot[i].seed = random;
        slot[i].at = region_block_new(slot[i].class, false);
        if (slot[i].at)
            fill(slot[i].at, size_class_bytes(slot[i].class), random);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (slot[i].at) {
            check(slot[i].at, size_class_bytes(slot[i].class), slot[i].seed);
            region_block_delete((uint32_t)region_unit(slot[i].at));
        }
    return NULL;
}

static void *purge(void *arg)
{
    (void)arg;
    while (!atomic_load(&done))
        holes_purge(UINT64_MAX);
    return NULL;
}

Test(holes, never_take_what_another_thread_was_just_given, .timeout = 60)
{
    pthread_t thread[THREADS], purger[2];

    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&purger[i], NULL, purge, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, churn, (void *)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&done, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(purger[i], NULL);
    cr_expect(gt(u64, holes_purged(), 0));
}
