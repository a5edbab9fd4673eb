// Thread caches: what a thread keeps, how another takes it away, what happens when it exits, forks
// or is interrupted. Threads are told when to go on by a pipe, so no clock decides.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/jemalloc_private/page_hooks.h"
#include "pool/pool.h"

#define K ((size_t)1024)
#define KEPT 8

static const struct quota_bucket buckets[] = {
    {4 * K, 1000, false, false},
    {64 * K, 200, false, false},
    {1024 * K, 40, false, false},
};
static bool can_drain;

static void start(void)
{
    const struct pool_options options = {buckets, 3, UINT64_MAX, REGION_THP_DEFAULT};

    cr_assert(eq(int, pool_init(&options, &can_drain), 0));
}

// As malloc does it, without a heap to fall back to.
static void *get(size_t size)
{
    void *p = pool_get(size);

    if (!p)
        p = pool_get_transferred(size, false);
    return p ? p : pool_get_new(size, false);
}

static void put(void *p)
{
    enum pool_misuse misuse = pool_put(p) ? POOL_FINE : pool_put_slow(p);

    cr_assert(misuse == POOL_FINE || misuse == POOL_RELEASED);
}

static void keep(size_t size, int count)
{
    void *p[64];

    for (int i = 0; i < count; i++)
        p[i] = get(size);
    for (int i = 0; i < count; i++)
        put(p[i]);
}

static uint64_t free_blocks(void)
{
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX];
    uint64_t sum = 0;

    for (unsigned b = 0, n = pool_stats(s); b < n; b++)
        sum += s[b].free_blocks;
    return sum;
}

TestSuite(thread_cache, .init = start, .timeout = 60);

Test(thread_cache, the_block_freed_last_is_handed_out_first)
{
    void *a = get(8 * K), *b = get(8 * K);

    put(a);
    put(b);
    cr_expect(eq(ptr, pool_get(8 * K), b));
    cr_expect(eq(ptr, pool_get(8 * K), a));
    cr_expect(eq(ptr, pool_get(8 * K), NULL));
}

Test(thread_cache, drain_self_moves_all_to_the_transfer_cache_and_says_how_much)
{
    keep(2 * K, KEPT);
    cr_expect(eq(u64, pool_drain_self(), KEPT * 2 * K));
    cr_expect(eq(ptr, pool_get(2 * K), NULL));
    cr_expect(eq(u64, free_blocks(), KEPT));
    cr_expect(eq(u64, pool_drain_self(), 0));
    // The whole batch comes back at once.
    cr_expect(ne(ptr, pool_get_transferred(2 * K, false), NULL));
    cr_expect(ne(ptr, pool_get(2 * K), NULL));
}

Test(thread_cache, what_a_drain_left_behind_holds_no_credit)
{
    keep(2 * K, KEPT);
    keep(100 * K, KEPT);
    pool_trim(0);
    cr_expect(eq(u64, quota_taken_bytes(), 0));
}

// A thread that keeps some blocks and sleeps in read(2).
struct sleeper {
    pthread_t thread;
    int wake[2], asleep[2];
};

static void *sleeper_main(void *arg)
{
    struct sleeper *s = arg;
    char c;

    keep(4 * K, KEPT);
    cr_assert(write(s->asleep[1], "", 1) == 1);
    cr_assert(read(s->wake[0], &c, 1) == 1);
    // Served again, and its cache with it.
    keep(4 * K, KEPT);
    void *p = pool_get(4 * K);
    if (!p)
        return NULL;
    put(p);
    return s;
}

static void sleeper_start(struct sleeper *s)
{
    char c;

    cr_assert(pipe(s->wake) == 0 && pipe(s->asleep) == 0);
    cr_assert(eq(int, pthread_create(&s->thread, NULL, sleeper_main, s), 0));
    cr_assert(read(s->asleep[0], &c, 1) == 1);
}

static void sleeper_join(struct sleeper *s)
{
    void *ok;

    cr_assert(write(s->wake[1], "", 1) == 1);
    pthread_join(s->thread, &ok);
    cr_expect(eq(ptr, ok, s));
}

static uint64_t created(void)
{
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX];

    pool_stats(s);
    return s[0].created;
}

// No clock ages its lists here.
Test(thread_cache, what_a_thread_that_sleeps_holds_is_there_for_one_that_misses_it)
{
    const struct quota_bucket few = {4 * K, KEPT, false, false};
    struct sleeper s;
    bool missed;

    quota_init(&few, 1, UINT64_MAX);
    sleeper_start(&s);
    cr_assert(can_drain);
    do {
        uint64_t before = created();
        usleep(1000);
        for (int i = 0; i < 20; i++)
            keep(3 * K, 2);
        missed = created() != before;
    } while (missed);
    sleeper_join(&s);
}

Test(thread_cache, the_cache_of_a_thread_that_sleeps_is_drained)
{
    struct sleeper s;

    sleeper_start(&s);
    cr_assert(can_drain);
    cr_expect(eq(u64, free_blocks(), KEPT));
    cr_expect(eq(u64, pool_trim(0), KEPT * 4 * K));
    cr_expect(eq(u64, free_blocks(), 0));
    cr_expect(eq(u64, quota_taken_bytes(), 0));
    sleeper_join(&s);
}

Test(thread_cache, a_thread_that_exits_leaves_its_blocks_and_no_credit_but_theirs)
{
    struct sleeper s;

    sleeper_start(&s);
    sleeper_join(&s);
    cr_expect(eq(u64, free_blocks(), KEPT));
    cr_expect(eq(u64, quota_taken_bytes(), KEPT * 4 * K));
    cr_expect(ne(ptr, pool_get_transferred(4 * K, false), NULL));
}

Test(thread_cache, threads_that_come_and_go_use_the_same_caches)
{
    for (int i = 0; i < 100; i++) {
        struct sleeper s;
        sleeper_start(&s);
        sleeper_join(&s);
        for (int end = 0; end < 2; end++)
            close(s.wake[end]), close(s.asleep[end]);
    }
    cr_expect(eq(uint, cache_threads(), 1));
    cr_expect(eq(u64, free_blocks(), KEPT));
}

// The last destructors of a thread have no cache, and where jemalloc has torn the thread down, too,
// no new block either: then malloc's way is on to jemalloc.
static pthread_key_t late;
static unsigned late_rounds;
static void *late_block[3];

static void late_destructor(void *p)
{
    put(late_block[late_rounds]);
    p = pool_get(2 * K);
    cr_assert(p == NULL);
    p = pool_get_transferred(2 * K, false);
    cr_assert(p == NULL);
    p = pool_get_new(2 * K, false);
    if (p)
        put(p);
    if (++late_rounds < 3)
        pthread_setspecific(late, late_block);
}

static void *exits_late(void *arg)
{
    for (int i = 0; i < 3; i++)
        late_block[i] = get(2 * K);
    pthread_setspecific(late, late_block);
    return arg;
}

Test(thread_cache, destructors_that_run_after_ours_are_served)
{
    pthread_t t;
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX];

    pthread_key_create(&late, late_destructor);
    pthread_create(&t, NULL, exits_late, NULL);
    pthread_join(t, NULL);
    pool_stats(s);
    cr_expect(eq(uint, late_rounds, 3));
    cr_expect(eq(u64, s[0].live_blocks, 0));
}

Test(thread_cache, a_thread_inside_its_cache_is_served_around_it)
{
    keep(2 * K, KEPT);
    cr_expect(not(pool_entered()));
    cr_assert(cache_enter(cache_self)); // as a handler would find it
    cr_expect(pool_entered());
    cr_expect(eq(ptr, pool_get(4 * K), NULL));
    cr_expect(eq(ptr, pool_get_transferred(4 * K, false), NULL));
    void *p = pool_get_new(4 * K, false);
    cr_assert(p != NULL);
    cr_expect(not(pool_put(p)));
    cr_expect(eq(int, (int)pool_put_slow(p), POOL_RELEASED));
    cr_expect(eq(u64, pool_drain_self(), 0));
    cache_leave(cache_self);
    cr_expect(eq(u64, free_blocks(), KEPT));
    cr_expect(eq(u64, region_released(size_class_of(4 * K)), 1));
}

static void *get_inside_jemalloc(void *unused)
{
    (void)unused;
    guard_pass();
    void *p = pool_get_transferred(4 * K, false);
    guard_leave();
    return p;
}

// The holder of a lock may be interrupted by a handler that waits for jemalloc: neither would end.
Test(thread_cache, a_handler_inside_jemalloc_waits_for_no_lock_of_the_pools)
{
    struct timespec by;
    pthread_t thread;
    void *got;

    keep(4 * K, 64);
    cache_drain_self();
    clock_gettime(CLOCK_REALTIME, &by);
    by.tv_sec += 10;
    transfer_lock_all();
    cr_assert(eq(int, pthread_create(&thread, NULL, get_inside_jemalloc, NULL), 0));
    cr_assert(eq(int, pthread_timedjoin_np(thread, &got, &by), 0));
    transfer_unlock_all();
    cr_expect(eq(ptr, got, NULL));
}

Test(thread_cache, a_drain_that_meets_a_busy_cache_gives_up_on_it)
{
    keep(2 * K, KEPT);
    // Left for ever, as by a longjmp out of a handler: no thread may touch its lists.
    cr_assert(cache_enter(cache_self));
    cr_expect(eq(u64, pool_trim(0), 0));
    cr_expect(eq(u64, free_blocks(), KEPT));
    cache_leave(cache_self);
    cr_expect(ne(ptr, pool_get(2 * K), NULL));
}

static int child_of_fork(int (*in_child)(void))
{
    int status;

    pool_prefork();
    pid_t pid = fork();
    if (pid == 0) {
        pool_postfork_child();
        alarm(20);
        _exit(in_child());
    }
    pool_postfork_parent();
    cr_assert(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int gives_all_back(void)
{
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX];

    if (cache_threads() != 1 || free_blocks() != 2 * KEPT)
        return 1;
    // From the transfer cache, where the sleeper's went.
    void *p = pool_get_transferred(4 * K, false);
    if (!p || pool_stats(s) != 3 || s[0].live_blocks != 1)
        return 2;
    put(p);
    pool_trim(0);
    return free_blocks() == 0 && quota_taken_bytes() == 0 ? 0 : 3;
}

Test(thread_cache, a_child_has_the_blocks_of_the_threads_that_it_does_not_have)
{
    struct sleeper s;

    sleeper_start(&s);
    keep(2 * K, KEPT);
    cr_expect(eq(int, child_of_fork(gives_all_back), 0));
    cr_expect(eq(u64, free_blocks(), 2 * KEPT));
    sleeper_join(&s);
}

static int drains_its_own_thread(void)
{
    struct sleeper s;

    pool_trim(0);
    sleeper_start(&s);
    return pool_trim(0) == KEPT * 4 * K ? 0 : 1;
}

Test(thread_cache, a_child_drains_the_caches_of_its_own_threads)
{
    keep(2 * K, KEPT);
    cr_expect(eq(int, child_of_fork(drains_its_own_thread), 0));
}

// What handlers of the program's do that run between ours: with the transfer cache locked.
Test(thread_cache, between_fork_handlers_everything_is_served)
{
    enum { MANY = 900 };
    static void *p[MANY];

    for (int i = 0; i < MANY; i++)
        p[i] = get(1 * K);
    for (int i = 0; i < MANY / 2; i++)
        put(p[i]);
    pool_prefork();
    for (int i = MANY / 2; i < MANY; i++)
        put(p[i]);
    for (int i = 0; i < MANY; i++)
        cr_assert(ne(ptr, p[i] = get(1 * K), NULL));
    pool_postfork_parent();
    for (int i = 0; i < MANY; i++)
        put(p[i]);
    cr_expect(ne(ptr, pool_get_transferred(1 * K, false), NULL));
}

static void refuse_membarrier(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {array_len(filter), filter};

    cr_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    cr_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void check_without_membarrier(struct sleeper *s)
{
    keep(2 * K, KEPT);
    // Its own blocks a thread can give back; those of the other stay until it comes by.
    cr_expect(eq(u64, pool_trim(0), KEPT * 2 * K));
    cr_expect(eq(u64, free_blocks(), KEPT));
    for (int i = 0; i < 3; i++) {
        keep(2 * K, KEPT);
        cr_expect(eq(u64, pool_drain_self(), KEPT * 2 * K), "after trim, round %d", i);
    }
    sleeper_join(s);
    pool_trim(0);
    cr_expect(eq(u64, free_blocks(), 0));
}

Test(membarrier, where_it_is_refused_owners_drain_themselves, .timeout = 60)
{
    struct sleeper s;

    refuse_membarrier();
    start();
    cr_assert(not(can_drain));
    sleeper_start(&s);
    check_without_membarrier(&s);
}

// A program that enters its sandbox after it has allocated.
Test(membarrier, where_it_is_refused_later_owners_drain_themselves, .timeout = 60)
{
    struct sleeper s;

    start();
    cr_assert(can_drain);
    sleeper_start(&s);
    refuse_membarrier();
    check_without_membarrier(&s);
}

static int frees_and_allocates(void)
{
    keep(4 * K, KEPT);
    return pool_get(4 * K) ? 0 : 1;
}

Test(membarrier, where_it_is_refused_later_a_child_is_served, .timeout = 60)
{
    struct sleeper s;

    start();
    sleeper_start(&s);
    refuse_membarrier();
    cr_expect(eq(int, child_of_fork(frees_and_allocates), 0));
    keep(2 * K, KEPT);
    cr_expect(ne(ptr, pool_get(2 * K), NULL));
    sleeper_join(&s);
}

static unsigned left_outside, left_inside;

static void on_free(size_t bytes)
{
    (void)bytes;
    *(cache_self->busy ? &left_inside : &left_outside) += 1;
}

// jemalloc may take milliseconds for each, and no other thread gets at the cache meanwhile.
Test(thread_cache, blocks_go_back_to_jemalloc_when_the_cache_has_been_left)
{
    pages_on_free = on_free;
    // One bucket: what is too many, and what lies there for another size.
    for (int round = 0; round < 3; round++) {
        keep(128 * K, 60);
        cache_drain_self();
        keep(256 * K, 60);
    }
    pages_on_free = NULL;
    cr_assert(left_outside > 40);
    cr_assert(eq(uint, left_inside, 0));
}
