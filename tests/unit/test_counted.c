// Requests that the pools' lists count down to a sample, and how those are marked.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "pool/common/sampler.h"
#include "pool/pool.h"

#define K ((size_t)1024)

static const struct quota_bucket buckets[] = {
    {4 * K, 1000, false, false},
    {64 * K, 200, false, false},
    {1024 * K, 40, false, false},
};
static uint64_t samples;
static uint32_t overdrawn; // always
static double estimate;

static void start(void)
{
    const struct pool_options options = {buckets, 3, UINT64_MAX, REGION_THP_DEFAULT};
    bool can_drain;

    sampler_interval_bytes = 16 * K;
    cr_assert(eq(int, pool_init(&options, &can_drain), 0));
}

static bool sampled(size_t size)
{
    uint64_t interval;
    size_t trial;

    if (!pool_sample(size, &trial, &interval))
        return false;
    samples++;
    estimate += 1 / sampler_probability(trial, interval);
    // The clock of a test is none: the allowance is given anew.
    sampler_self.overdrawn = overdrawn & 0xffffff;
    return true;
}

static bool hit; // the last request was sampled

// As malloc does it.
static void *get(size_t size)
{
    void *p = pool_get(size);

    if (!p)
        p = pool_get_transferred(size, false);
    hit = !p && sampled(size);
    if (hit)
        p = pool_get_transferred(size, false);
    return p ? p : pool_get_new(size, false);
}

static void put(void *p)
{
    if (p && !pool_put(p))
        pool_put_slow(p);
}

static struct pool_bucket_stats sums(void)
{
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX], sum = {0};

    for (unsigned b = 0, n = pool_stats(s); b < n; b++) {
        sum.created += s[b].created;
        sum.reused += s[b].reused;
        sum.freed += s[b].freed;
        sum.free_blocks += s[b].free_blocks;
        sum.live_blocks += s[b].live_blocks;
    }
    return sum;
}

TestSuite(counted, .init = start, .timeout = 120);

static void estimates_all(uint64_t requests)
{
    cr_assert(samples > 500, "%lu samples", samples);
    cr_expect(fabs(estimate / (double)requests - 1) < 6 / sqrt((double)samples),
              "%f of %lu requests, %lu samples", estimate, requests, samples);
}

Test(counted, blocks_that_come_and_go_are_sampled_rightly)
{
    for (int i = 0; i < 100000; i++)
        put(get(2 * K));
    estimates_all(100000);
}

Test(counted, blocks_that_stay_are_sampled_rightly)
{
    for (int i = 0; i < 20000; i++)
        get(1500);
    estimates_all(20000);
}

Test(counted, lists_that_fill_and_drain_are_sampled_rightly)
{
    enum { N = 300 };
    static void *p[N];

    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < N; i++)
            p[i] = get((size_t)(i % 7 + 1) * K);
        for (int i = 0; i < N; i++)
            put(p[(i * 7) % N]);
        if (round % 10 == 0)
            pool_trim(0);
    }
    estimates_all(200 * N);
}

// One request in `every` of each pattern place; a trigger that fell on the same place every time
// would name one call site for the work of all.
Test(counted, each_place_in_a_pattern_is_sampled_alike)
{
    enum { PLACES = 4, ROUNDS = 200000 };
    uint64_t hits[PLACES] = {0};

    for (int round = 0; round < ROUNDS; round++) {
        void *p[PLACES];
        for (int i = 0; i < PLACES; i++) {
            p[i] = get(K);
            hits[i] += hit;
        }
        for (int i = 0; i < PLACES; i++)
            put(p[i]);
    }
    double expected = ROUNDS * sampler_probability(K, 16 * K);
    for (int i = 0; i < PLACES; i++)
        cr_expect(fabs((double)hits[i] / expected - 1) < 6 / sqrt(expected), "place %d: %lu of %f",
                  i, hits[i], expected);
}

// Pairs of one size, of which the list serves all but the sampled ones; in turns enough to raise
// the interval 64-fold, and few.
Test(counted, the_last_hit_of_a_burst_counts)
{
    enum { ROUNDS = 1000, TURN = 5000 };

    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2 * TURN; i++) {
            overdrawn = i < TURN ? (PACE_AT_ONCE + 6 * PACE_A_DOUBLING) << PACE_CHARGE_LG : 0;
            sampler_self.overdrawn = overdrawn & 0xffffff;
            put(get(2 * K));
        }
    double got = estimate / (2.0 * TURN * ROUNDS);
    cr_expect(fabs(got - 1) < 0.025, "%f of the truth, %lu samples", got, samples);
}

Test(counted, statistics_stay_exact)
{
    enum { N = 5000 };
    static void *p[N];
    uint64_t requests = 0, frees = 0, live = 0;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            put(p[i]);
            frees += p[i] != NULL;
            p[i] = get((size_t)(i % 60 + 1) * K);
            requests++;
        }
        if (round == 10)
            pool_trim(0);
    }
    for (int i = 0; i < N; i++)
        live += p[i] != NULL;
    struct pool_bucket_stats s = sums();
    cr_expect(eq(u64, s.created + s.reused, requests));
    cr_expect(eq(u64, s.freed, frees));
    cr_expect(eq(u64, s.live_blocks, live));
    cr_expect(samples > 1000);
}

static void expect_run(size_t size, size_t alignment)
{
    char *p = pool_run_new(size, alignment, true);

    cr_assert(ne(ptr, p, NULL), "%zu", size);
    cr_expect(pool_owns(p) && region_is_run(p) && !region_is_live(p));
    cr_expect(pool_usable_size(p) >= size && (uintptr_t)p % alignment == 0);
    for (size_t i = 0; i < size; i++)
        cr_assert(p[i] == 0, "%zu: zero at %zu", size, i);
    memset(p, 1, pool_usable_size(p));
    region_set_note(p, 0xabcdef);
    cr_expect(eq(u32, region_note(p), 0xabcdef));
    cr_expect(not(pool_put(p)), "the fast path leaves it alone");
    cr_expect(region_is_run(p), "which changed nothing");
    cr_expect(eq(int, pool_put_slow(p), POOL_SAMPLED));
    cr_expect(eq(int, pool_put_slow(p), POOL_DOUBLE_FREE), "it is the first one's");
    for (size_t at = 64; at < size && at < 4096; at += 64) {
        cr_expect(not(pool_put(p + at)), "%zu: inside at %zu", size, at);
        cr_expect(ne(int, pool_put_slow(p + at), POOL_SAMPLED));
    }
    region_run_delete(p);
    cr_expect(not(region_is_run(p)));
    cr_expect(not(pool_put(p)));
    cr_expect(ne(int, pool_put_slow(p), POOL_SAMPLED));
    // A larger one may have taken its pages of the map along.
    if (size > 1 << 20)
        return;
    cr_expect(eq(int, pool_put_slow(p), POOL_DOUBLE_FREE));
    cr_expect(eq(u32, region_note(p), 0xabcdef), "the note outlives it");
}

Test(counted, a_run_has_any_size_and_alignment)
{
    static const size_t size[] = {1, 100, 1000, 1024, 5000, 70000, 1 << 20, 9000001};

    for (unsigned i = 0; i < sizeof size / sizeof *size; i++)
        for (size_t alignment = 16; alignment <= 1 << 16; alignment *= 16)
            expect_run(size[i], alignment);
    cr_expect(eq(u64, region_run_bytes(), 0));
}

Test(counted, runs_leave_the_region_to_the_pools)
{
    cr_expect(eq(ptr, pool_run_new(region.max_bytes / 8 + 1, 16, false), NULL));
    cr_expect(eq(ptr, pool_run_new(K, 4 << 20, false), NULL));
    int runs = 0;
    while (pool_run_new(region.max_bytes / 9, 16, false))
        runs++;
    cr_expect(eq(int, runs, 4));
    cr_expect(ne(ptr, pool_get_new(K, false), NULL));
}

Test(counted, a_run_for_a_small_request_grows_in_place_no_further_than_another)
{
    void *p = pool_run_new(100, 16, false);

    cr_expect(eq(sz, pool_usable_size(p), 112));
    cr_expect(eq(u64, region_run_bytes(), K));
}

Test(counted, a_block_that_is_marked_is_told_from_all_others)
{
    for (size_t size = K; size <= 1024 * K; size += 997) {
        char *p = pool_get_new(size, false);
        size_t usable = pool_usable_size(p);
        region_mark_sampled(p);
        cr_expect(region_is_sampled(p) && !region_is_run(p) && !region_is_live(p));
        cr_expect(eq(sz, pool_usable_size(p), usable), "%zu", size);
        cr_expect(not(pool_put(p)), "the fast path leaves it alone");
        cr_expect(eq(int, pool_put_slow(p), POOL_SAMPLED));
        cr_expect(eq(int, pool_put_slow(p), POOL_DOUBLE_FREE), "it is the first one's");
        for (size_t at = 64; at < size && at < 4096; at += 64) {
            cr_expect(not(pool_put(p + at)), "%zu: inside at %zu", size, at);
            cr_expect(ne(int, pool_put_slow(p + at), POOL_SAMPLED));
            if (region_entry_at(p + at) == region_entry_at(p))
                cr_expect(eq(int, pool_put_slow(p + at), POOL_INVALID_FREE));
        }
        pool_put_sampled(p);
        cr_expect(not(region_is_sampled(p)));
        cr_expect(eq(int, pool_put_slow(p), POOL_DOUBLE_FREE));
    }
}

// Of two neighbours the later one's complement must not be taken for the earlier one's unit.
Test(counted, no_free_block_looks_marked)
{
    enum { N = 2000 };
    static void *p[N];

    for (unsigned class = 1; class < SIZE_CLASS_END; class ++) {
        size_t size = size_class_bytes(class);
        int n = size > 64 * K ? 30 : N;
        for (int i = 0; i < n; i++)
            p[i] = pool_get_new(size, false);
        for (int i = 0; i < n; i++)
            for (int j = i + 1; j < n; j += 97)
                cr_assert(ne(u64, (uint32_t)~region_unit(p[i]) & 63, region_unit(p[j]) & 63));
        for (int i = 0; i < n; i++)
            put(p[i]);
    }
}

// Else a double free of the next owner's would name the block's owner before.
Test(counted, a_block_that_was_sampled_is_handed_out_without_its_note)
{
    enum { N = 64 };
    void *p[N];

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < N; i++) {
            p[i] = pool_get(K);
            if (!p[i])
                p[i] = pool_get_transferred(K, false);
            if (!p[i])
                p[i] = pool_get_new(K, false);
            cr_assert(eq(u32, region_note(p[i]), 0));
        }
        for (int i = 0; i < N; i++) {
            if (i % 3) {
                put(p[i]);
                continue;
            }
            region_mark_sampled(p[i]);
            region_set_note(p[i], 77);
            pool_put_sampled(p[i]);
            cr_assert(not(region_is_sampled(p[i])));
            cr_assert(eq(u32, region_note(p[i]), 77), "until the next block");
        }
    }
    cr_expect(eq(u64, sums().live_blocks, 0));
}

Test(counted, a_block_where_a_run_was_has_no_note)
{
    enum { N = 64 };
    void *p[N];

    for (int i = 0; i < N; i++) {
        p[i] = pool_run_new(K, 16, false);
        region_set_note(p[i], 77);
    }
    for (int i = 0; i < N; i++)
        region_run_delete(p[i]);
    for (int i = 0; i < N; i++)
        cr_expect(eq(u32, region_note(pool_get_new(K, false)), 0));
}
