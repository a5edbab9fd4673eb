// Growth, frees, the thread, requests for a reclaim, readers of the numbers and forks, all at once,
// for ThreadSanitizer (make race SAN=thread) and, with more turns, without it. About 3 s.
//
// The limit is set a little above what the program starts with, so that all levels are passed many
// times. Every reclaim checks that it is the only one.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pressure/direct_reclaim.h"
#include "pressure/promise.h"
#include "pressure/stats_snapshot.h"
#include "pressure/usage/proc.h"
#include "pressure/watchdog_thread.h"
#include "tests/unit/pressure_grow.h"

#define M ((size_t)1 << 20)
#define THREADS 4
#ifdef __SANITIZE_THREAD__ // some twenty times slower
#define TURNS 60
#define FORKS 5
#else
#define TURNS 400
#define FORKS 30
#endif

static _Atomic unsigned reclaiming, reclaims, levels, ticks, keeps;
static _Atomic bool done;

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "pressure_race: %s\n", what);
    abort();
}

static size_t reclaim(uint64_t keep, enum pressure_cause cause)
{
    (void)cause;
    check(atomic_fetch_add(&reclaiming, 1) == 0, "two reclaims at once");
    // What a reclaim does may count as growth; it must not lead to another look.
    pressure_grow(64 * M);
    pressure_shrink(64 * M);
    atomic_fetch_add(&reclaims, 1);
    atomic_fetch_sub(&reclaiming, 1);
    return (size_t)(keep / 2 + M);
}

static void set_keep(uint64_t keep, uint64_t limit)
{
    (void)keep, (void)limit;
    atomic_fetch_add(&keeps, 1);
}

static void on_level(enum pressure_level from, enum pressure_level to,
                     const struct pressure_sample *s)
{
    check(from != to && s->limit_bytes != 0, "a level that did not change");
    atomic_fetch_add(&levels, 1);
}

static void tick(uint64_t now_ms)
{
    (void)now_ms;
    atomic_fetch_add(&ticks, 1);
}

static const struct pressure_hooks hooks = {
    .reclaim = reclaim, .set_keep = set_keep, .on_level = on_level, .tick = tick};
static struct pressure_options options;

static void *grow_and_shrink(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    for (int turn = 0; turn < TURNS; turn++) {
        size_t size = (1 + (size_t)rand_r(&seed) % 16) * M;
        pressure_grow(size);
        watchdog_thread_poke();
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(p != MAP_FAILED, "mmap");
        for (size_t i = 0; i < size; i += 4096)
            p[i] = 1;
        if (turn % 16 == 0)
            pressure_reclaim(0, PRESSURE_CAUSE_API);
        if (turn % 8 == 0)
            promise_keep(promise_begin(4 * M) ? 4 * M : 0);
        munmap(p, size);
        pressure_shrink(size);
    }
    return NULL;
}

static void *read_numbers(void *arg)
{
    (void)arg;
    struct pressure_stats s;
    uint64_t looks = 0, reclaimed = 0;
    while (!atomic_load(&done)) {
        pressure_stats(&s);
        uint64_t all = s.reclaims[0] + s.reclaims[1] + s.reclaims[2];
        check((unsigned)s.level < PRESSURE_LEVELS && s.sample.used_bytes < 1 << 30, "nonsense");
        check(s.evaluations >= looks && all >= reclaimed, "numbers that go back");
        looks = s.evaluations, reclaimed = all;
        watchdog_thread_wake();
        usleep(500);
    }
    return NULL;
}

// A child has no thread until it has grown itself. (ThreadSanitizer cannot start threads there.)
static void in_child(void)
{
    struct pressure_stats s;
    watchdog_thread_child();
    pressure_stats(&s);
    check(!s.thread && !s.evaluations, "a child that inherits");
    alarm(20);
    for (int i = 0; i < 80; i++)
        pressure_grow(M);
    pressure_stats(&s);
    check(s.evaluations > 0, "a child that does not look");
#ifndef __SANITIZE_THREAD__
    check(atomic_load(&watchdog_thread_wanted), "a child that wants no thread");
    watchdog_thread_poke();
    for (int i = 0; i < 2000 && !s.thread; i++) {
        usleep(1000);
        pressure_stats(&s);
    }
    check(s.thread, "a child without its thread");
    watchdog_thread_stop();
#endif
    _exit(0);
}

static void *forks(void *arg)
{
    (void)arg;
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0)
            in_child();
        int status = -1;
        waitpid(pid, &status, 0);
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child failed");
        usleep(10000);
    }
    return NULL;
}

int main(void)
{
    pthread_t grower[THREADS], reader, forker;
    struct pressure_stats s;
    struct proc_rss rss;
    check(proc_read_rss("", &rss) == 0, "no /proc");
    options = pressure_defaults;
    options.limit_bytes = rss.anon_bytes + 40 * M;
    options.source = PRESSURE_USAGE_RSS;
    options.interval_ms = 20;
    options.cooldown_ms = 5;
    options.evaluate_min_bytes = 8 * M;
    options.on_limit = PRESSURE_ON_LIMIT_ENOMEM;
    watchdog_thread_init(&options, &hooks);

    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&grower[i], NULL, grow_and_shrink, (void *)(i + 1)); // NOLINT
    pthread_create(&reader, NULL, read_numbers, NULL);
    pthread_create(&forker, NULL, forks, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(grower[i], NULL);
    pthread_join(forker, NULL);
    atomic_store(&done, true);
    pthread_join(reader, NULL);

    pressure_stats(&s);
    check(s.thread, "no thread");
    check(atomic_load(&reclaims) > 0 && atomic_load(&keeps) > 0, "nothing was reclaimed");
    check(s.evaluations > s.direct_evaluations && s.direct_evaluations > 0,
          "looks from one side only");
    watchdog_thread_stop();
    unsigned before = atomic_load(&ticks) + atomic_load(&levels);
    watchdog_thread_wake();
    usleep(20000);
    check(before == atomic_load(&ticks) + atomic_load(&levels), "hooks after stop");
    printf("pressure_race: %llu looks, %llu by growth, %u reclaims, %u levels\n",
           (unsigned long long)s.evaluations, (unsigned long long)s.direct_evaluations,
           atomic_load(&reclaims), atomic_load(&levels));
    return 0;
}
