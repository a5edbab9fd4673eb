// The pools as malloc and free see them, with limits small enough to reach. Each test runs in a
// process of its own, so that each makes its own pools.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/common/je.h"
#include "pool/pool.h"
#include "shim/clock.h"

#define K ((size_t)1024)
#define M (K * K)

enum { SMALL, MIDDLE, OFF, LARGE, BUCKETS };
static const struct quota_bucket buckets[BUCKETS] = {
    [SMALL] = {4 * K, 100, false, false},
    [MIDDLE] = {64 * K, 2 * M, true, false},
    [OFF] = {128 * K, 0, false, false},
    [LARGE] = {512 * K, 20, false, false},
};

static void start(void)
{
    const struct pool_options options = {buckets, BUCKETS, UINT64_MAX, REGION_THP_DEFAULT};
    bool can_drain;

    cr_assert(eq(int, pool_init(&options, &can_drain), 0));
}

TestSuite(pool, .init = start, .timeout = 60);

static void *get(size_t size)
{
    void *p = pool_get(size);

    if (!p)
        p = pool_get_transferred(size, false);
    return p ? p : pool_get_new(size, false);
}

static enum pool_misuse put(void *p)
{
    return pool_put(p) ? POOL_FINE : pool_put_slow(p);
}

static struct pool_bucket_stats stats(unsigned bucket)
{
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX];

    cr_assert(eq(uint, pool_stats(s), quota_bucket_count()));
    return s[bucket];
}

static void get_all(void **p, int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        p[i] = get(size);
        cr_assert(p[i] != NULL);
    }
}

static void put_all(void **p, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert(put(p[i]) <= POOL_RELEASED);
}

Test(pool, takes_what_its_buckets_serve)
{
    cr_expect(not(pool_takes(0)));
    cr_expect(not(pool_takes(1 * K - 1)));
    cr_expect(pool_takes(1 * K));
    cr_expect(pool_takes(512 * K));
    cr_expect(not(pool_takes(512 * K + 1)));
    cr_expect(not(pool_takes(SIZE_MAX)));
}

Test(pool, a_bucket_that_is_off_gives_nothing)
{
    cr_expect(eq(ptr, pool_get(100 * K), NULL));
    cr_expect(eq(ptr, pool_get_transferred(100 * K, false), NULL));
    cr_expect(eq(ptr, pool_get_new(100 * K, false), NULL));
    cr_expect(eq(sz, pool_block_bytes(100 * K, false), 0));
}

Test(pool, with_every_bucket_off_nothing_is_pooled)
{
    // A second pool_init(), for what it says only.
    const struct quota_bucket off = {1024 * K, 0, false, false};
    const struct pool_options options = {&off, 1, UINT64_MAX, REGION_THP_DEFAULT};
    bool can_drain = true;

    cr_expect(eq(int, pool_init(&options, &can_drain), -ENODEV));
    cr_expect(not(can_drain));
    cr_expect(not(pool_takes(1 * K)));
    cr_expect(not(pool_takes(512 * K)));
}

Test(pool, a_new_block_is_owned_and_as_large_as_said)
{
    for (size_t size = 1 * K; size <= 512 * K; size += 700) {
        if (size > 64 * K && size <= 128 * K)
            continue;
        char *p = get(size);
        cr_assert(p && pool_owns(p) && pool_owns(p + size - 1));
        size_t usable = pool_usable_size(p);
        if (usable < size || usable != pool_block_bytes(size, false))
            cr_fail("%zu bytes: %zu usable", size, usable);
        memset(p, 1, usable);
        put(p);
    }
    int here;
    cr_expect(not(pool_owns(&here)));
    cr_expect(not(pool_owns(NULL)));
}

Test(pool, asking_for_what_a_page_aligned_block_has_gives_one)
{
    for (size_t size = 4 * K; size <= 512 * K; size += 4 * K) {
        size_t all = pool_block_bytes(size, true);
        if (!all)
            continue;
        uintptr_t p = (uintptr_t)get(all);
        if (!p || p % 4096 || all < size)
            cr_fail("%zu bytes at %lx", all, p);
    }
}

Test(pool, what_is_free_is_used_again)
{
    void *p = get(5 * K), *q;

    cr_expect(eq(int, (int)put(p), POOL_FINE));
    q = pool_get(5 * K);
    cr_expect(eq(ptr, q, p));
    struct pool_bucket_stats s = stats(MIDDLE);
    cr_expect(eq(u64, s.created, 1));
    cr_expect(eq(u64, s.reused, 1));
    cr_expect(eq(u64, s.freed, 1));
    cr_expect(eq(u64, s.live_blocks, 1));
}

Test(pool, a_block_that_is_cut_counts_as_one_of_its_new_size)
{
    char *p = get(60 * K);

    memset(p, 7, 60 * K);
    cr_assert(pool_resize(p, 17 * K));
    cr_expect(le(sz, pool_usable_size(p), 20 * K));
    struct pool_bucket_stats s = stats(MIDDLE);
    cr_expect(eq(u64, s.live_blocks, 1));
    cr_expect(eq(u64, s.live_bytes, pool_usable_size(p)));
    cr_expect(eq(u64, s.created - s.released, 1));
    cr_expect(p[0] == 7 && memcmp(p, p + 1, 17 * K - 1) == 0);
    cr_expect(eq(int, (int)put(p), POOL_FINE));
    s = stats(MIDDLE);
    cr_expect(eq(u64, s.live_blocks, 0));
    cr_expect(eq(u64, s.free_blocks, 1));
}

// From above it, and from below.
Test(pool, no_block_is_resized_into_a_bucket_that_is_off)
{
    char *low = get(60 * K), *high = get(500 * K);

    cr_expect(not(pool_resize(high, 100 * K)));
    cr_expect(not(pool_resize(low, 100 * K)));
    cr_expect(not(pool_resize(high, 600 * K)));
    cr_expect(eq(u64, stats(MIDDLE).live_blocks, 1));
    cr_expect(eq(u64, stats(LARGE).live_blocks, 1));
    cr_expect(pool_resize(high, 200 * K));
    cr_expect(eq(int, (int)put(low), POOL_FINE));
    cr_expect(eq(int, (int)put(high), POOL_FINE));
}

static size_t resident(const char *at, size_t bytes)
{
    static unsigned char there[1024];
    uintptr_t begin = (uintptr_t)at & ~(uintptr_t)4095;
    size_t pages = ((uintptr_t)at + bytes - begin + 4095) / 4096, count = 0;

    cr_assert(eq(int, mincore((void *)begin, pages * 4096, there), 0));
    for (size_t i = 0; i < pages; i++)
        count += there[i] & 1;
    return count;
}

// Of the pools' blocks and of jemalloc's: 16 KiB of whole pages at least, and none that the program
// uses.
Test(pool, the_rest_of_a_block_goes_back)
{
    for (size_t have = 64 * K; have <= 3 * M; have += have / 3 & ~(size_t)63) {
        char *p = have <= 64 * K ? get(have) : je_malloc(have);
        size_t all;
        cr_assert(p != NULL);
        memset(p, 7, have);
        all = resident(p, have);
        pool_give_rest(p, have - 15 * K, have);
        cr_expect(eq(sz, resident(p, have), all), "less than 16 KiB of %zu", have);
        pool_give_rest(p, have - 40 * K, have);
        cr_expect(le(sz, resident(p, have), all - 9), "of %zu", have);
        cr_expect(p[0] == 7 && memcmp(p, p + 1, have - 40 * K - 1) == 0, "%zu", have);
    }
}

Test(pool, a_block_asked_for_as_zero_is_zero_as_far_as_asked)
{
    unsigned char *p[40];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 40; i++) {
            p[i] = pool_get_transferred(7 * K, true);
            if (!p[i])
                p[i] = pool_get_new(7 * K, true);
            cr_assert(p[i][0] == 0 && memcmp(p[i], p[i] + 1, 7 * K - 1) == 0);
            memset(p[i], 0xee, 7 * K);
        }
        put_all((void **)p, 40);
        pool_drain_self();
    }
    cr_expect(ge(u64, stats(MIDDLE).reused, 40));
}

Test(pool, leaves_errno_alone)
{
    void *p[300];

    errno = EXDEV;
    get_all(p, 300, 3 * K);
    put_all(p, 300);
    pool_drain_self();
    pool_trim(10 * K);
    pool_age();
    cr_expect(eq(int, (int)put(p[0]), POOL_DOUBLE_FREE));
    cr_expect(eq(int, errno, EXDEV));
}

// Misuse. Each row does a forbidden free, and nothing may have changed by it.

enum place { CACHED, SHELVED, JEMALLOCS, LIVE };

struct misuse {
    size_t size;
    enum place where;
    size_t offset;
    enum pool_misuse answer;
};

ParameterizedTestParameters(pool, misuse_is_told_and_changes_nothing)
{
    static struct misuse rows[] = {
        {5 * K, CACHED, 0, POOL_DOUBLE_FREE},    {5 * K, SHELVED, 0, POOL_DOUBLE_FREE},
        {5 * K, JEMALLOCS, 0, POOL_DOUBLE_FREE}, {60 * K, CACHED, 0, POOL_DOUBLE_FREE}, // coloured
        {64 * K, SHELVED, 0, POOL_DOUBLE_FREE},  {5 * K, LIVE, 1, POOL_INVALID_FREE},
        {5 * K, LIVE, 16, POOL_INVALID_FREE},    {5 * K, LIVE, 64, POOL_INVALID_FREE},
        {5 * K, LIVE, 512, POOL_INVALID_FREE},   {5 * K, LIVE, 1 * K, POOL_INVALID_FREE},
        {60 * K, LIVE, 64, POOL_INVALID_FREE},   {60 * K, LIVE, 4 * K, POOL_INVALID_FREE},
        {60 * K, LIVE, -64, POOL_INVALID_FREE}, // the colour's own place
        {5 * K, LIVE, 1 * M, POOL_INVALID_FREE},
    };
    return cr_make_param_array(struct misuse, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct misuse *row, pool, misuse_is_told_and_changes_nothing)
{
    char *first = get(row->size), *p = get(row->size);

    if (row->where != LIVE)
        put(p);
    if (row->where == SHELVED || row->where == JEMALLOCS)
        pool_drain_self();
    if (row->where == JEMALLOCS)
        pool_trim(0);
    struct pool_bucket_stats before = stats(MIDDLE), after;
    // Where the colour is none, there is nothing before the block.
    if (row->offset == (size_t)-64 && (uintptr_t)p % 4096 == 0)
        p = first;
    cr_expect(eq(int, (int)put(p + row->offset), (int)row->answer), "%zu+%zd, %d", row->size,
              (ssize_t)row->offset, (int)row->where);
    after = stats(MIDDLE);
    cr_expect(memcmp(&before, &after, sizeof before) == 0);
    cr_expect(eq(sz, pool_usable_size(p + row->offset), 0));
    if (row->where == LIVE)
        cr_expect(eq(int, (int)put(p), POOL_FINE));
}

Test(pool, the_first_and_the_last_address_of_the_region_are_no_blocks)
{
    cr_expect(eq(int, (int)put((void *)region.base), POOL_INVALID_FREE));
    cr_expect(eq(int, (int)put((char *)region.base + region.bytes - 64), POOL_INVALID_FREE));
    cr_expect(eq(sz, pool_usable_size((void *)region.base), 0));
}

// Limits.

Test(pool, a_limit_in_blocks_holds_however_many_are_freed)
{
    static void *p[400];

    get_all(p, 400, 2 * K);
    put_all(p, 400);
    struct pool_bucket_stats s = stats(SMALL);
    cr_expect(le(u64, s.free_blocks, 100));
    cr_expect(ge(u64, s.free_blocks, 90));
    cr_expect(eq(u64, s.live_blocks, 0));
    cr_expect(eq(u64, s.released, 400 - s.free_blocks));
}

Test(pool, a_limit_in_bytes_holds_for_mixed_sizes)
{
    static void *p[300];

    for (int i = 0; i < 300; i++)
        p[i] = get((5 + (size_t)i * 7 % 60) * K);
    put_all(p, 300);
    struct pool_bucket_stats s = stats(MIDDLE);
    cr_expect(le(u64, s.free_bytes, 2 * M));
    cr_expect(gt(u64, s.free_bytes, 1 * M));
    cr_expect(eq(u64, s.live_blocks, 0));
}

// A bucket that is full of one size gives way to another that is used now.
Test(pool, sizes_that_shift_find_room)
{
    static void *p[200];

    get_all(p, 200, 1 * K);
    put_all(p, 200);
    for (int i = 0; i < 20; i++) {
        get_all(p, 50, 4 * K);
        put_all(p, 50);
    }
    uint64_t created = stats(SMALL).created;
    get_all(p, 50, 4 * K);
    cr_expect(le(u64, stats(SMALL).created - created, 10));
}

static void *put_one(void *p)
{
    put(p);
    return NULL;
}

// Of what a program frees and asks for again all is kept, once that has cost it time; and given up
// when it is not wanted any more.
Test(pool, a_limit_follows_the_swing)
{
    static void *p[1000];
    const struct quota_bucket wide = {64 * K, 100, false, true};
    uint64_t created = UINT64_MAX;

    quota_init(&wide, 1, UINT64_MAX);
    for (int turn = 0; turn < 100 && stats(0).created != created; turn++) {
        created = stats(0).created;
        get_all(p, 1000, 5 * K);
        put_all(p, 1000);
    }
    cr_expect(eq(u64, stats(0).created, created), "after some turns no block is new");
    cr_expect(eq(u64, stats(0).free_blocks, 1000));
    cr_expect(ge(u64, stats(0).limit, 1000));
    // Two ticks until the blocks have aged, and by half towards 100 from then on.
    for (int tick = 0; tick < 16; tick++)
        pool_age();
    cr_expect(eq(u64, stats(0).limit, 100));
}

// Each thread that ends leaves one block, more of them than a class of the transfer cache has room
// for at first.
Test(pool, what_many_threads_leave_is_all_there)
{
    static void *p[400];
    const struct quota_bucket wide = {64 * K, 1000, false, false};

    quota_init(&wide, 1, UINT64_MAX);
    get_all(p, 400, 5 * K);
    for (int i = 0; i < 400; i++) {
        pthread_t thread;
        cr_assert(eq(int, pthread_create(&thread, NULL, put_one, p[i]), 0));
        pthread_join(thread, NULL);
    }
    uint64_t created = stats(0).created;
    cr_expect(eq(u64, stats(0).free_blocks, 400));
    get_all(p, 400, 5 * K);
    cr_expect(eq(u64, stats(0).created, created));
    put_all(p, 400);
    cr_expect(eq(u64, stats(0).live_blocks, 0));
}

// More than go to jemalloc at once, however small or large they are.
Test(pool, a_shelf_full_of_any_size_goes_back)
{
    static void *p[400];
    const struct quota_bucket wide = {512 * K, 1000, false, false};

    quota_init(&wide, 1, UINT64_MAX);
    for (size_t size = 1 * K; size <= 256 * K; size *= 4) {
        get_all(p, 400, size);
        put_all(p, 400);
        cr_expect(eq(u64, pool_trim(0), 400 * (uint64_t)size));
        cr_expect(eq(u64, quota_taken_bytes(), 0));
    }
}

// Numbers.

Test(pool, the_numbers_add_up)
{
    static void *p[BUCKETS][64];
    static const size_t size[BUCKETS] = {3 * K, 40 * K, 0, 300 * K};
    uint64_t requests[BUCKETS] = {0}, frees[BUCKETS] = {0};
    unsigned seed = 5;

    for (int turn = 0; turn < 20000; turn++) {
        unsigned b = (unsigned)rand_r(&seed) % BUCKETS, at = (unsigned)rand_r(&seed) % 64;
        if (b == OFF)
            continue;
        if (p[b][at]) {
            put(p[b][at]);
            p[b][at] = NULL;
            frees[b]++;
        } else {
            p[b][at] = get(size[b]);
            requests[b]++;
        }
        if (turn % 1000 == 999)
            turn % 2000 == 999 ? pool_trim(1 * M) : pool_age();
    }
    for (unsigned b = 0; b < BUCKETS; b++) {
        struct pool_bucket_stats s = stats(b);
        cr_expect(eq(u64, s.created + s.reused, requests[b]));
        cr_expect(eq(u64, s.freed, frees[b]));
        cr_expect(eq(u64, s.live_blocks, requests[b] - frees[b]));
        cr_expect(eq(u64, s.live_blocks + s.free_blocks, s.created - s.released));
        cr_expect(
            eq(u64, s.live_bytes, s.live_blocks * (size[b] ? pool_block_bytes(size[b], 0) : 0)));
    }
}

Test(pool, free_bytes_is_what_the_buckets_add_up_to)
{
    void *p[20];
    uint64_t sum = 0;

    get_all(p, 20, 9 * K);
    put_all(p, 20);
    get_all(p, 5, 200 * K);
    put_all(p, 5);
    for (unsigned b = 0; b < BUCKETS; b++)
        sum += stats(b).free_bytes;
    cr_expect(eq(u64, pool_free_bytes(), sum));
    cr_expect(
        eq(u64, sum, 20 * pool_block_bytes(9 * K, false) + 5 * pool_block_bytes(200 * K, false)));
}

// Giving back.

Test(pool, trim_keeps_what_is_asked)
{
    static void *p[90];
    uint64_t all, released;

    get_all(p, 90, 4 * K);
    put_all(p, 90);
    get_all(p, 18, 400 * K);
    put_all(p, 18);
    all = pool_free_bytes();
    released = pool_trim(1 * M);
    cr_expect(eq(u64, pool_free_bytes(), all - released));
    cr_expect(le(u64, pool_free_bytes(), 1 * M));
    // It goes by batches; a list of these sizes is at most some blocks long.
    cr_expect(gt(u64, pool_free_bytes(), 128 * K));
    cr_expect(eq(u64, pool_trim(1 * M), 0));
    cr_expect(eq(u64, pool_trim(0), all - released));
    cr_expect(eq(u64, pool_free_bytes(), 0));
}

Test(pool, trim_to_more_than_there_is_keeps_all)
{
    void *p[10];

    get_all(p, 10, 50 * K);
    put_all(p, 10);
    cr_expect(eq(u64, pool_trim(UINT64_MAX), 0));
    cr_expect(eq(u64, stats(MIDDLE).free_blocks, 10));
}

Test(pool, age_gives_back_what_lies_still_and_no_more)
{
    void *idle[10], *used[2];

    get_all(idle, 10, 50 * K);
    put_all(idle, 10);
    // Four ticks: seen in the cache, moved to the transfer cache, seen there, gone.
    for (int tick = 0; tick < 5; tick++) {
        get_all(used, 2, 3 * K);
        put_all(used, 2);
        pool_age();
    }
    cr_expect(eq(u64, stats(MIDDLE).free_blocks, 0));
    cr_expect(eq(u64, stats(SMALL).free_blocks, 2));
    cr_expect(eq(u64, stats(SMALL).created, 2));
}

Test(pool, age_does_not_touch_what_was_used_since)
{
    void *p[10];

    get_all(p, 10, 50 * K);
    put_all(p, 10);
    cr_expect(eq(u64, pool_age(), 0));
    cr_expect(eq(u64, stats(MIDDLE).free_blocks, 10));
    cr_expect(ne(ptr, pool_get(50 * K), NULL), "still in its cache");
}

// Readiness.

Test(pool, warm_up_is_no_request_and_serves_the_first_ones)
{
    void *p[30];

    cr_expect(eq(u32, pool_warm_up(3 * K, 30), 30));
    struct pool_bucket_stats s = stats(SMALL);
    cr_expect(eq(u64, s.created, 0));
    cr_expect(eq(u64, s.free_blocks, 30));
    cr_expect(eq(u64, s.live_blocks, 0));
    get_all(p, 30, 3 * K);
    s = stats(SMALL);
    cr_expect(eq(u64, s.created, 0));
    cr_expect(eq(u64, s.reused, 30));
    cr_expect(eq(u64, s.live_blocks, 30));
    put_all(p, 30);
    cr_expect(eq(u64, pool_trim(0), 30 * pool_block_bytes(3 * K, false)));
}

Test(pool, warm_up_stays_within_the_limits)
{
    cr_expect(eq(u32, pool_warm_up(4 * K, 1000000), 100));
    cr_expect(eq(u32, pool_warm_up(4 * K, 1), 0));
    cr_expect(eq(u32, pool_warm_up(100 * K, 5), 0));
    cr_expect(eq(u32, pool_warm_up(2 * M, 5), 0));
    cr_expect(eq(u32, pool_warm_up(64 * K, UINT32_MAX), 32));
    cr_expect(eq(u64, stats(SMALL).free_blocks, 100));
    cr_expect(eq(u64, stats(MIDDLE).free_bytes, 2 * M));
}

// Giving way: a bucket whose limit follows demand, and one whose limit was set.

enum { FOLLOWS, SET, WAYS };

static void start_following(void)
{
    const struct quota_bucket bucket[WAYS] = {
        [FOLLOWS] = {64 * K, 500, false, true},
        [SET] = {512 * K, 100, false, false},
    };
    const struct pool_options options = {bucket, WAYS, UINT64_MAX, REGION_THP_DEFAULT};
    bool can_drain;

    cr_assert(eq(int, pool_init(&options, &can_drain), 0));
}

TestSuite(giving_way, .init = start_following, .timeout = 60);

Test(giving_way, large_blocks_go_as_many_as_are_asked_for)
{
    static void *p[100];
    uint64_t before, given;

    get_all(p, 100, 50 * K);
    put_all(p, 100);
    before = pool_free_bytes();
    given = pool_give_way(1 * M);
    cr_expect(ge(u64, given, 1 * M));
    cr_expect(lt(u64, given, 1 * M + 64 * K));
    cr_expect(eq(u64, pool_free_bytes(), before - given));
    cr_expect(eq(u64, pool_give_way(UINT64_MAX), before - given));
    cr_expect(eq(u64, pool_give_way(UINT64_MAX), 0));
}

Test(giving_way, small_blocks_stay_and_those_whose_limit_was_set)
{
    static void *small[100], *set[50];

    get_all(small, 100, 10 * K);
    get_all(set, 50, 100 * K);
    put_all(small, 100);
    put_all(set, 50);
    cr_expect(eq(u64, pool_give_way(UINT64_MAX), 0));
    cr_expect(eq(u64, stats(FOLLOWS).free_blocks, 100));
    cr_expect(eq(u64, stats(SET).free_blocks, 50));
}

Test(giving_way, what_was_made_to_be_ready_stays)
{
    static void *p[60];

    cr_assert(eq(u32, pool_warm_up(50 * K, 40), 40));
    get_all(p, 60, 50 * K);
    put_all(p, 60);
    cr_expect(eq(u64, pool_give_way(UINT64_MAX), 20 * pool_block_bytes(50 * K, false)));
    cr_expect(eq(u64, stats(FOLLOWS).free_blocks, 40));
}

Test(giving_way, it_has_an_end_until_a_while_later)
{
    static void *p[480];
    uint64_t first = 0, given;

    get_all(p, 480, 20 * K);
    put_all(p, 480);
    for (uint64_t window = clock_ms(CLOCK_MONOTONIC_COARSE) / 16;
         clock_ms(CLOCK_MONOTONIC_COARSE) / 16 == window;)
        ;
    while ((given = pool_give_way(1 * M)))
        first += given;
    cr_expect(ge(u64, stats(FOLLOWS).free_blocks, 40), "%lu bytes", first);
    usleep(50000);
    cr_expect(gt(u64, pool_give_way(1 * M), 0));
}
