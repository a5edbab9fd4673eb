// Threads that go together from one size of blocks to the next, each freeing the last as it takes
// the new ones: what a thread has left of one size serves the others. No limit is near, so nothing
// goes back to the kernel.

#include "tests/preload/victim.h"

#include <pthread.h>

enum { THREADS = 4, EACH = 48 * 1024 * 1024, MOST = EACH / 6000 };

static const size_t sizes[] = {64 * KIB, 6 * KIB, 700 * KIB, 24 * KIB, 300 * KIB, 10 * KIB};

static pthread_barrier_t together;

static void *move_on(void *arg)
{
    void **old = calloc(MOST, sizeof *old), **fresh = calloc(MOST, sizeof *fresh);
    size_t old_size = 0, left = 0;

    for (size_t s = 0; s < COUNT(sizes); s++) {
        size_t count = EACH / sizes[s], first = 0;
        pthread_barrier_wait(&together);
        for (size_t i = 0; i < count; i++) {
            while (left && left * old_size + (i + 1) * sizes[s] > EACH) {
                free(old[first++]);
                left--;
            }
            fresh[i] = malloc(sizes[s]);
            memset(fresh[i], 1, sizes[s]);
        }
        while (left) {
            free(old[first++]);
            left--;
        }
        void **empty = old;
        old = fresh, fresh = empty;
        left = count, old_size = sizes[s];
    }
    for (size_t i = 0; i < left; i++)
        free(old[i]);
    free(old);
    free(fresh);
    return arg;
}

int main(void)
{
    pthread_t id[THREADS];
    size_t before = victim_resident_bytes();

    pthread_barrier_init(&together, NULL, THREADS);
    for (size_t i = 0; i < COUNT(id); i++)
        CHECK(pthread_create(&id[i], NULL, move_on, NULL) == 0, "no thread");
    for (size_t i = 0; i < COUNT(id); i++)
        pthread_join(id[i], NULL);
    size_t rss = victim_resident_bytes(), live = (size_t)THREADS * EACH;
    CHECK(rss < before + live * 2, "%zu MiB live, %zu MiB resident, %zu before", live / MIB,
          rss / MIB, before / MIB);
    return 0;
}
