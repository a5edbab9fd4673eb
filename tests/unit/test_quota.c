// Quota alone: limits in blocks and in bytes, the ceiling over all, and that neither is ever
// passed, whatever the moment, while eight threads take and return. What is checked while they run
// holds at every moment, so no clock decides.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "pool/common/quota.h"

#define K ((size_t)1024)
#define PLENTY UINT64_MAX

enum { BLOCKS, BYTES, OFF, LAST, FREE, LARGE, BUCKETS };
static const struct quota_bucket buckets[] = {
    [BLOCKS] = {4 * K, 100, false, false}, [BYTES] = {16 * K, 100 * 1000, true, false},
    [OFF] = {64 * K, 0, false, false},     [LAST] = {256 * K, 10, false, false},
    [FREE] = {512 * K, 10, false, true},   [LARGE] = {768 * K, 10, false, true},
};

#define NOW_MS 1600u

static unsigned class_of(size_t size)
{
    return size_class_of(size);
}

static void init(void)
{
    size_class_init();
    quota_init(buckets, BUCKETS, PLENTY);
}

TestSuite(quota, .init = init);

Test(quota, a_class_belongs_to_the_bucket_whose_bound_holds_it)
{
    cr_expect(eq(int, quota_bucket_of(class_of(K)), BLOCKS));
    cr_expect(eq(int, quota_bucket_of(class_of(4 * K)), BLOCKS));
    cr_expect(eq(int, quota_bucket_of(class_of(4 * K + 1)), BYTES));
    cr_expect(eq(int, quota_bucket_of(class_of(16 * K)), BYTES));
    cr_expect(eq(int, quota_bucket_of(class_of(256 * K)), LAST));
    cr_expect(eq(uint, quota_bucket_count(), BUCKETS));
    cr_expect(eq(sz, quota_bucket(BYTES)->bound_bytes, 16 * K));
}

Test(quota, a_limit_of_nothing_and_sizes_beyond_all_bounds_are_not_served)
{
    cr_expect(eq(int, quota_bucket_of(class_of(64 * K)), -1));
    cr_expect(eq(int, quota_bucket_of(class_of(768 * K + 1)), -1));
    cr_expect(eq(u32, quota_take(class_of(64 * K), 1), 0));
    cr_expect(eq(u32, quota_take(class_of(1024 * K), 1), 0));
    cr_expect(eq(u64, quota_taken_bytes(), 0));
}

Test(quota, a_limit_in_blocks_is_shared_by_all_classes_of_the_bucket)
{
    cr_expect(eq(u32, quota_take(class_of(1 * K), 60), 60));
    cr_expect(eq(u32, quota_take(class_of(4 * K), 60), 40));
    cr_expect(eq(u32, quota_take(class_of(2 * K), 1), 0));
    cr_expect(eq(u64, quota_bucket_taken(BLOCKS), 100));
    cr_expect(eq(u64, quota_taken_bytes(), 60 * K + 40 * 4 * K));
}

Test(quota, a_limit_in_bytes_counts_the_sizes)
{
    // 100000 bytes: six blocks of 16 KiB, and what is left holds no seventh.
    cr_expect(eq(u32, quota_take(class_of(16 * K), 10), 6));
    cr_expect(eq(u64, quota_bucket_taken(BYTES), 6 * 16 * K));
    cr_expect(eq(u32, quota_take(class_of(5 * K), 10), 0));
    quota_return(class_of(16 * K), 1);
    cr_expect(eq(u32, quota_take(class_of(5 * K), 10), 3));
}

Test(quota, what_is_returned_can_be_taken_again)
{
    for (int i = 0; i < 1000; i++) {
        cr_assert(eq(u32, quota_take(class_of(3 * K), 64), 64));
        quota_return(class_of(3 * K), 64);
    }
    cr_expect(eq(u64, quota_bucket_taken(BLOCKS), 0));
    cr_expect(eq(u64, quota_taken_bytes(), 0));
}

Test(quota, returning_nothing_is_fine_even_where_nothing_is_served)
{
    quota_return(class_of(64 * K), 0);
    quota_return(0, 0);
    cr_expect(eq(u64, quota_taken_bytes(), 0));
}

Test(quota, the_ceiling_counts_all_buckets_and_refuses_without_leaving_a_trace)
{
    quota_set_max(100 * K);
    cr_expect(eq(u64, quota_max(), 100 * K));
    cr_expect(eq(u32, quota_take(class_of(4 * K), 20), 20));
    cr_expect(eq(u32, quota_take(class_of(16 * K), 2), 1));
    // The bucket had room for both; what the ceiling refused is not held against it.
    cr_expect(eq(u64, quota_bucket_taken(BYTES), 16 * K));
    cr_expect(eq(u32, quota_take(class_of(256 * K), 1), 0));
    cr_expect(eq(u64, quota_bucket_taken(LAST), 0));
}

Test(quota, a_ceiling_lowered_below_what_is_taken_takes_nothing_back)
{
    cr_assert(eq(u32, quota_take(class_of(4 * K), 50), 50));
    quota_set_max(8 * K);
    cr_expect(eq(u64, quota_taken_bytes(), 200 * K));
    cr_expect(eq(u32, quota_take(class_of(1 * K), 1), 0));
    quota_return(class_of(4 * K), 48);
    cr_expect(eq(u32, quota_take(class_of(1 * K), 1), 0));
    quota_return(class_of(4 * K), 1);
    cr_expect(eq(u32, quota_take(class_of(1 * K), 9), 4));
    quota_set_max(0);
    cr_expect(eq(u32, quota_take(class_of(1 * K), 1), 0));
}

Test(quota, each_class_is_once_among_those_of_its_bucket)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++) {
        if (quota_bucket_of(class) < 0)
            continue;
        const struct quota_classes *all = quota_classes(class);
        int found = 0;
        for (unsigned i = 0; i < all->count; i++) {
            found += all->class[i] == class;
            cr_expect(eq(int, quota_bucket_of(all->class[i]), quota_bucket_of(class)));
        }
        cr_expect(eq(int, found, 1));
    }
}

Test(quota, what_moves_to_another_class_counts_as_that)
{
    quota_set_max(100 * K);
    cr_assert(eq(u32, quota_take(class_of(4 * K), 20), 20));
    cr_expect(eq(u32, quota_move(class_of(4 * K), class_of(1 * K), 10), 10));
    cr_expect(eq(u64, quota_bucket_taken(BLOCKS), 20));
    cr_expect(eq(u64, quota_taken_bytes(), 50 * K));
    quota_set_max(80 * K);
    cr_expect(eq(u32, quota_move(class_of(1 * K), class_of(4 * K), 10), 10));
    cr_expect(eq(u32, quota_take(class_of(16 * K), 1), 0));
    quota_return(class_of(4 * K), 10);
    cr_assert(eq(u32, quota_take(class_of(1 * K), 20), 20));
    // Three more for each, out of 20 that are left; what is not had goes back.
    cr_expect(eq(u32, quota_move(class_of(1 * K), class_of(4 * K), 20), 6));
    cr_expect(eq(u64, quota_bucket_taken(BLOCKS), 16));
    cr_expect(eq(u64, quota_taken_bytes(), 16 * 4 * K));
    cr_assert(eq(u32, quota_take(class_of(16 * K), 1), 1));
    cr_expect(eq(u32, quota_move(class_of(16 * K), class_of(5 * K), 1), 1));
    cr_expect(eq(u64, quota_bucket_taken(BYTES), 5 * K));
}

// What costs 2 % of a window's time, before limits rise: 800 misses, or 6400 exchanges.
static void spend(uint64_t now_ms)
{
    for (int i = 0; i < 6400; i++)
        quota_note_exchange(class_of(512 * K), now_ms);
}

// A swing of a class: blocks are freed, kept as far as the limit goes, and asked for again.
static void swing(unsigned class, uint32_t blocks)
{
    uint32_t kept = quota_take(class, blocks);

    quota_note_refused(class, blocks - kept);
    quota_return(class, kept);
    for (uint32_t i = kept; i < blocks; i++)
        quota_note_miss(class, NOW_MS);
}

Test(quota, a_limit_follows_what_is_freed_beyond_it_and_asked_for_again)
{
    spend(NOW_MS);
    swing(class_of(512 * K), 70);
    cr_expect(eq(u64, quota_limit(FREE), 70));
    cr_expect(eq(u32, quota_take(class_of(512 * K), 80), 70));
    quota_return(class_of(512 * K), 70);
    // What was not freed before is only growth.
    for (int i = 0; i < 100; i++)
        quota_note_miss(class_of(512 * K), NOW_MS);
    cr_expect(eq(u64, quota_limit(FREE), 70));
}

Test(quota, what_costs_little_time_raises_no_limit)
{
    spend(NOW_MS);
    cr_expect(eq(u64, quota_limit(FREE), 10));
    quota_note_exchange(class_of(512 * K), NOW_MS + 16);
    cr_expect(eq(u64, quota_limit(FREE), 10), "another window");
    spend(NOW_MS + 16);
    cr_expect(eq(u64, quota_limit(FREE), 11));
}

Test(quota, a_large_block_takes_more_of_the_same_time)
{
    spend(NOW_MS);
    swing(class_of(700 * K), 70);
    cr_expect(eq(u64, quota_limit(LARGE), 10 + 60 / 2));
    // At twice the time each raises it.
    spend(NOW_MS);
    swing(class_of(700 * K), 70);
    cr_expect(eq(u64, quota_limit(LARGE), 70));
}

Test(quota, what_is_expected_raises_a_limit_that_follows)
{
    cr_assert(eq(u32, quota_take(class_of(512 * K), 5), 5));
    quota_expect(class_of(512 * K), 3);
    cr_expect(eq(u64, quota_limit(FREE), 10));
    quota_expect(class_of(512 * K), 30);
    cr_expect(eq(u64, quota_limit(FREE), 35));
    quota_expect(class_of(256 * K), 30);
    cr_expect(eq(u64, quota_limit(LAST), 10));
}

Test(quota, one_class_misses_nothing_of_another)
{
    spend(NOW_MS);
    quota_note_refused(class_of(512 * K), quota_take(class_of(512 * K), 10) + 90);
    for (int i = 0; i < 100; i++)
        quota_note_miss(class_of(300 * K), NOW_MS);
    cr_expect(eq(u64, quota_limit(FREE), 10));
}

Test(quota, a_limit_that_was_set_stays)
{
    spend(NOW_MS);
    swing(class_of(4 * K), 1000);
    swing(class_of(256 * K), 1000);
    quota_age();
    cr_expect(eq(u64, quota_limit(BLOCKS), 100));
    cr_expect(eq(u64, quota_limit(LAST), 10));
}

Test(quota, what_the_ceiling_refused_raises_no_limit_and_none_rises_beyond_it)
{
    spend(NOW_MS);
    quota_set_max(5 * 512 * K);
    swing(class_of(512 * K), 70);
    cr_expect(eq(u64, quota_limit(FREE), 10));
    quota_set_max(50 * 512 * K);
    swing(class_of(512 * K), 70);
    cr_expect(eq(u64, quota_limit(FREE), 50));
}

Test(quota, an_unused_limit_falls_by_half_each_time_down_to_its_start)
{
    spend(NOW_MS);
    swing(class_of(512 * K), 110);
    swing(class_of(512 * K), 110);
    quota_age();
    cr_expect(eq(u64, quota_limit(FREE), 110), "it was used since the last time");
    cr_assert(eq(u32, quota_take(class_of(512 * K), 30), 30));
    quota_age();
    cr_expect(eq(u64, quota_limit(FREE), 70), "half way to what is taken");
    quota_return(class_of(512 * K), 30);
    for (int i = 0; i < 20; i++)
        quota_age();
    cr_expect(eq(u64, quota_limit(FREE), 10));
}

Test(quota, what_was_refused_long_ago_is_not_missed)
{
    spend(NOW_MS);
    quota_note_refused(class_of(512 * K), quota_take(class_of(512 * K), 10) + 90);
    quota_age();
    for (int i = 0; i < 100; i++)
        quota_note_miss(class_of(512 * K), NOW_MS);
    cr_expect(eq(u64, quota_limit(FREE), 10));
}

Test(quota, wishes_beyond_all_measure_do_not_overflow)
{
    cr_expect(eq(u32, quota_take(class_of(4 * K), UINT32_MAX), 100));
    cr_expect(eq(u32, quota_take(class_of(16 * K), UINT32_MAX), 6));
}

enum { THREADS = 8, TURNS = 500000, HELD = 16 };
#define CEILING (300 * K)

static _Atomic unsigned passed;

// A bucket is charged before the ceiling is asked, so its own count is the strictest witness.
static void look(void)
{
    if (quota_bucket_taken(BLOCKS) > 100 || quota_bucket_taken(BYTES) > 100 * 1000 ||
        quota_bucket_taken(LAST) > 10 || quota_taken_bytes() > CEILING)
        atomic_fetch_add(&passed, 1);
}

static void *hammer(void *arg)
{
    static const size_t size[] = {1, 3, 4, 5, 16, 200, 256};
    struct {
        unsigned class;
        uint32_t count;
    } held[HELD] = {{0}};
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int turn = 0; turn < TURNS; turn++) {
        int at = rand_r(&seed) % HELD;
        quota_return(held[at].class, held[at].count);
        held[at].class = class_of(size[rand_r(&seed) % 7] * K);
        held[at].count = quota_take(held[at].class, 1 + (uint32_t)rand_r(&seed) % 32);
        look();
        const struct quota_classes *all = quota_classes(held[at].class);
        unsigned to = all->class[rand_r(&seed) % all->count];
        held[at].count = quota_move(held[at].class, to, held[at].count);
        held[at].class = to;
        look();
    }
    for (int at = 0; at < HELD; at++)
        quota_return(held[at].class, held[at].count);
    return NULL;
}

Test(quota, no_limit_is_ever_passed_under_eight_threads_and_all_comes_back)
{
    pthread_t t[THREADS];

    quota_set_max(CEILING);
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert(eq(int, pthread_create(&t[i], NULL, hammer, (void *)(i + 1)), 0));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    cr_expect(eq(uint, passed, 0));
    for (unsigned b = 0; b < quota_bucket_count(); b++)
        cr_expect(eq(u64, quota_bucket_taken(b), 0));
    cr_expect(eq(u64, quota_taken_bytes(), 0));
}
