// Two threads free one block at once, both by the slow way because no list has room: one of them
// gets it, and the other is told of a double free. For ThreadSanitizer (make race SAN=thread), and
// with more rounds without it. About 2 s.

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "pool/pool.h"

#define K ((size_t)1024)
#ifdef __SANITIZE_THREAD__ // some ten times slower
#define ROUNDS 4000
#else
#define ROUNDS 40000
#endif

enum { SIZES = 3 };
static const size_t sizes[SIZES] = {2 * K, 64 * K, 900 * K};

static void *_Atomic block;
static _Atomic unsigned begun, ended; // rounds; by each thread
static _Atomic unsigned got, told;

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "free_twice: %s\n", what);
    abort();
}

static void free_it(void *ptr)
{
    enum pool_misuse misuse = pool_put(ptr) ? POOL_FINE : pool_put_slow(ptr);

    if (misuse == POOL_SAMPLED)
        pool_put_sampled(ptr);
    atomic_fetch_add(misuse == POOL_DOUBLE_FREE ? &told : &got, 1);
}

static void *second(void *arg)
{
    for (unsigned round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&begun) < round)
            ;
        free_it(atomic_load(&block));
        atomic_store(&ended, round);
    }
    return arg;
}

int main(void)
{
    // The ceiling is below the smallest block.
    static const struct quota_bucket bucket[] = {{1024 * K, 500, false, false}};
    const struct pool_options options = {.bucket = bucket, .bucket_count = 1, .max_bytes = 1};
    pthread_t t;
    bool can_drain;

    check(pool_init(&options, &can_drain) == 0, "no pools");
    check(pthread_create(&t, NULL, second, NULL) == 0, "no thread");
    for (unsigned round = 1; round <= ROUNDS; round++) {
        void *ptr = pool_get_new(sizes[round % SIZES], false);
        check(ptr != NULL, "no block");
        if (round % 4 == 0)
            region_mark_sampled(ptr);
        atomic_store(&block, ptr);
        atomic_store(&begun, round);
        free_it(ptr);
        while (atomic_load(&ended) < round)
            ;
        check(atomic_load(&got) == round && atomic_load(&told) == round, "a block was freed twice");
    }
    pthread_join(t, NULL);
    return 0;
}
