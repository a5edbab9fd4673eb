// Threads that come and go take and give back blocks while one drains and ages, and one reads the
// metrics all the time: no counter may fall or run ahead of what was asked, sums must add up, and
// when all is quiet each number must be exact. About 3 s. For ThreadSanitizer, too.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/metrics.h"
#include "pool/pool.h"

#ifdef __has_feature
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__
#endif
#endif

#ifdef __SANITIZE_THREAD__
#define TURNS 20000
#else
#define TURNS 100000
#endif
#define THREADS 6
#define LIVES 8
#define HELD 40

static const struct quota_bucket buckets[] = {
    {4096, 60, false, false}, {65536, 1 << 20, true, false}, {1 << 20, 20, false, false}};
#define BUCKETS 3

static _Atomic uint64_t asked, given; // before a request, before a free
static _Atomic bool done;

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "metrics_race: %s\n", what);
    exit(1);
}

static void *take(size_t size)
{
    void *block;

    asked++;
    block = pool_get(size);
    if (!block)
        block = pool_get_transferred(size, false);
    if (!block)
        block = pool_get_new(size, false);
    check(block, "out of memory");
    return block;
}

static void give(void *block)
{
    given++;
    if (!pool_put(block))
        check(pool_put_slow(block) <= POOL_RELEASED, "a free was refused");
}

static void *live(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    void *held[HELD] = {NULL};

    for (int i = 0; i < TURNS; i++) {
        int slot = rand_r(&seed) % HELD;
        size_t size = (size_t)1024 << (rand_r(&seed) % 10);
        if (held[slot])
            give(held[slot]);
        held[slot] = take(size + (size_t)rand_r(&seed) % 100);
    }
    for (int i = 0; i < HELD; i++)
        if (held[i])
            give(held[i]);
    return NULL;
}

static void *lives(void *arg)
{
    for (uintptr_t i = 0; i < LIVES; i++) {
        pthread_t t;
        check(pthread_create(&t, NULL, live, (void *)((uintptr_t)arg * LIVES + i + 1)) == 0,
              "no thread");
        pthread_join(t, NULL);
    }
    return NULL;
}

static void *disturb(void *unused)
{
    for (unsigned i = 0; !done; i++) {
        if (i % 8)
            pool_age();
        else
            pool_trim(i % 3 << 20);
        usleep(200);
    }
    return unused;
}

static void compare(const struct metrics *m, const struct metrics *before)
{
    const uint64_t *now = (const void *)&m->count, *then = (const void *)&before->count;
    uint64_t allocations = 0, freed = 0;

    for (size_t i = 0; i < sizeof m->count / sizeof *now; i++)
        check(now[i] >= then[i], "a counter fell");
    for (unsigned b = 0; b < m->buckets; b++) {
        const struct metrics_bucket *k = &m->bucket[b];
        const struct metrics_bucket_counters *c = &m->count.bucket[b];
        check(c->created + c->reused == k->allocations, "created + reused = allocations");
        check(k->live_blocks + k->free_blocks == k->held_blocks, "live + free = held, blocks");
        check(k->live_bytes + k->free_bytes == k->held_bytes, "live + free = held, bytes");
        allocations += k->allocations;
        freed += c->freed;
    }
    check(allocations <= asked, "more allocations than were asked for");
    check(freed <= given, "more frees than there were");
}

static void *read_all(void *unused)
{
    static struct metrics m[2];
    unsigned i = 0;

    for (; !done; i++) {
        check(metrics_read(&m[i % 2], i % 16 == 0), "no reading");
        compare(&m[i % 2], &m[(i + 1) % 2]);
    }
    printf("%u readings\n", i);
    return unused;
}

int main(void)
{
    const struct pool_options options = {
        .bucket = buckets, .bucket_count = BUCKETS, .max_bytes = 32 << 20};
    pthread_t worker[THREADS], others[2];
    static struct metrics m;
    uint64_t allocations = 0, freed = 0;
    bool can_drain;

    check(pool_init(&options, &can_drain) == 0, "no pools");
    metrics_init(&(struct metrics_options){.labels = NULL});
    check(!pthread_create(&others[0], NULL, disturb, NULL) &&
              !pthread_create(&others[1], NULL, read_all, NULL),
          "no thread");
    for (uintptr_t i = 0; i < THREADS; i++)
        check(!pthread_create(&worker[i], NULL, lives, (void *)i), "no thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(worker[i], NULL);
    done = true;
    for (int i = 0; i < 2; i++)
        pthread_join(others[i], NULL);

    check(metrics_read(&m, true), "no reading");
    for (unsigned b = 0; b < m.buckets; b++) {
        const struct metrics_bucket_counters *c = &m.count.bucket[b];
        allocations += m.bucket[b].allocations;
        freed += c->freed;
        check(m.bucket[b].live_blocks == 0, "something is live in the end");
        check(c->created - c->released == m.bucket[b].held_blocks, "created - released = held");
        check(c->drained > 0, "nothing was drained");
    }
    check(allocations == asked, "not all requests were counted");
    check(freed == given, "not all frees were counted");
    check(m.count.bucket[2].overflows > 0, "no limit was met");
    printf("%lu requests, each counted\n", allocations);
    return 0;
}
