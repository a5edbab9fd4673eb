// The limit of a bucket is a promise: eight threads churn, hand blocks to each other and come and
// go, while the main thread reads the counters. Afterwards the promise is checked without them as
// well: of `limit` and 50 new requests, at least 50 find nothing kept for them.

#include "tests/preload/victim.h"

#include <pthread.h>
#include <stdatomic.h>

#include "shim/api/tidepool.h"

enum { THREADS = 8, SLOTS = 64, GENERATIONS = 20, BURSTS = 300 };
static atomic_int running = THREADS;
static _Atomic(void *) slots[SLOTS];

static void *one_generation(void *arg)
{
    uint64_t state = (uintptr_t)arg + 1;
    for (int i = 0; i < BURSTS; i++) {
        void *burst[40];
        // Bursts of one size fill a list, gifts of every size travel between threads.
        size_t size = i % 4 ? victim_pooled_size(&state) : KIB << (i / 4 % 11);
        size_t count = 1 + victim_random(&state) % COUNT(burst);
        for (size_t j = 0; j < count; j++)
            burst[j] = malloc(size);
        for (size_t j = 1; j < count; j++)
            free(burst[j]);
        free(atomic_exchange(&slots[victim_random(&state) % SLOTS], burst[0]));
    }
    return NULL;
}

// Half of the threads live long; threads that end give their caches up, new ones take them over.
static void *churn(void *arg)
{
    for (uintptr_t i = 0; i < GENERATIONS; i++) {
        uintptr_t seed = (uintptr_t)arg * GENERATIONS + i;
        pthread_t t;
        if ((uintptr_t)arg % 2) {
            one_generation((void *)seed);
            continue;
        }
        CHECK(pthread_create(&t, NULL, one_generation, (void *)seed) == 0, "thread");
        pthread_join(t, NULL);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static unsigned read_limits(struct tidepool_bucket *b, unsigned count)
{
    unsigned n = tidepool_stats(b, count);
    CHECK(n > 0 && n <= count, "%u buckets", n);
    for (unsigned i = 0; i < n; i++) {
        CHECK(b[i].free <= b[i].limit, "bucket %d: %d free, limit %d", (int)b[i].bound,
              (int)b[i].free, (int)b[i].limit);
        CHECK(!b[i].limit_bytes || b[i].free_bytes <= b[i].limit_bytes,
              "bucket %d: %d bytes free, limit %d", (int)b[i].bound, (int)b[i].free_bytes,
              (int)b[i].limit_bytes);
    }
    return n;
}

static void nothing_beyond_the_limit(size_t size, unsigned bucket, size_t limit)
{
    static void *p[50000];
    struct tidepool_bucket before[16], after[16];
    size_t count = limit + 50;
    CHECK(count <= COUNT(p), "a limit of %zu", limit);
    read_limits(before, 16);
    for (size_t i = 0; i < count; i++)
        p[i] = malloc(size);
    read_limits(after, 16);
    uint64_t created = after[bucket].created - before[bucket].created;
    CHECK(created >= 50, "%zu bytes: of %zu requests only %d found nothing kept, limit %zu", size,
          count, (int)created, limit);
    for (size_t i = 0; i < count; i++)
        free(p[i]);
}

int main(void)
{
    pthread_t t[THREADS];
    struct tidepool_bucket b[16];
    CHECK(tidepool_stats, "no tidepool_stats: is the library preloaded?");
    free(malloc(5000));
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, churn, (void *)i) == 0, "thread");
    while (atomic_load(&running) > 0)
        read_limits(b, 16);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < SLOTS; i++)
        free(atomic_exchange(&slots[i], NULL));

    unsigned n = read_limits(b, 16);
    for (unsigned i = 0; i < n; i++) {
        CHECK(b[i].live == 0, "bucket %d: %d blocks live, all were freed", (int)b[i].bound,
              (int)b[i].live);
        CHECK(b[i].created + b[i].reused == b[i].freed,
              "bucket %d: %d created, %d reused, %d freed", (int)b[i].bound, (int)b[i].created,
              (int)b[i].reused, (int)b[i].freed);
        size_t limit = b[i].limit_bytes ? b[i].limit_bytes / b[i].bound : b[i].limit;
        // A limit of a few blocks may lie with idle threads as a whole; a hundred is for all.
        CHECK(limit < 100 || b[i].reused > 0, "bucket %d reuses nothing", (int)b[i].bound);
        nothing_beyond_the_limit(b[i].bound, i, limit);
    }
    tidepool_reclaim(0);
    n = read_limits(b, 16);
    for (unsigned i = 0; i < n; i++)
        CHECK(b[i].free == 0, "bucket %d: %d free after a reclaim", (int)b[i].bound,
              (int)b[i].free);
    return 0;
}
