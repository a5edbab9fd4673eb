// malloc_trim(0) gives back what is free, also what *other, idle* threads keep for reuse: 16
// threads free 16 MiB each and sleep, and what is resident afterwards is what the program lives on.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>

enum { THREADS = 16 };
static pthread_barrier_t freed, finished;

static void *hoard(void *arg)
{
    (void)arg;
    for (size_t size = KIB; size <= MIB; size *= 4) {
        static __thread void *p[3 * KIB];
        size_t count = 3 * MIB / size;
        for (size_t i = 0; i < count; i++) {
            p[i] = malloc(size);
            memset(p[i], 1, size);
        }
        for (size_t i = 0; i < count; i++)
            free(p[i]);
    }
    pthread_barrier_wait(&freed);
    pthread_barrier_wait(&finished);
    // The caches work on after another thread emptied them.
    void *p = malloc(5000);
    victim_fill(p, 5000, 7);
    CHECK(victim_intact(p, 5000, 5000, 7), "after the trim");
    free(p);
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];
    pthread_barrier_init(&freed, NULL, THREADS + 1);
    pthread_barrier_init(&finished, NULL, THREADS + 1);
    void *live = malloc(64 * KIB);
    victim_fill(live, 64 * KIB, 1);
    size_t before = victim_resident_bytes();
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, hoard, NULL) == 0, "thread %zu", i);
    pthread_barrier_wait(&freed);
    size_t hoarded = victim_resident_bytes();
    int trimmed = malloc_trim(0);
    size_t after = victim_resident_bytes();
    // Stacks, small blocks and tables of 17 threads stay: 8 MiB is plenty for them.
    CHECK(after < before + 8 * MIB, "resident: %zu K before, %zu K hoarded, %zu K trimmed",
          before / KIB, hoarded / KIB, after / KIB);
    CHECK(trimmed == 1 || hoarded < before + 8 * MIB, "malloc_trim said it freed nothing");
    CHECK(victim_intact(live, 64 * KIB, 64 * KIB, 1), "a live block was purged");
    pthread_barrier_wait(&finished);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return 0;
}
