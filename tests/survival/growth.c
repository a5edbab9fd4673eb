// growth FREED_MIB KIND GROWN_MIB MIB_PER_S [FREED_KIND] - fast growth beside memory that was freed
// before.
//
// Sixteen threads fill FREED_MIB (of the pooled sizes, if not told otherwise), free it and sleep.
// Two threads then grow to GROWN_MIB together, touching what they take, no faster than the rate:
// one alone is held up by page faults. What the kernel kills here, it kills for memory that is not
// in use.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "load.h"

enum { THREADS = 16, GROWERS = 2 };

static void wait_until(double due_s)
{
    for (double ahead_s; (ahead_s = due_s - load_seconds()) > 0;) {
        struct timespec t = {.tv_nsec = (long)(ahead_s * 1e9)};
        nanosleep(&t, NULL);
    }
}

static struct load_kind kind;
static size_t share_bytes;
static double share_rate, begin_s;

static void *grow(void *arg)
{
    uint64_t seed = (uintptr_t)arg + 5;
    for (size_t grown = 0, step = 0; grown < share_bytes;) {
        size_t size = load_random_size(&seed, kind.min, kind.max);
        load_take(size);
        grown += size;
        // Large steps, so that a pause is longer than the timer is coarse.
        if (grown / (4 * MIB) > step) {
            step = grown / (4 * MIB);
            wait_until(begin_s + (double)grown / share_rate);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    size_t freed_bytes = load_start(argc, argv);
    if (argc < 5)
        load_die("growth FREED_MIB KIND GROWN_MIB MIB_PER_S");
    kind = load_kind(argv[2]);
    size_t grown_bytes = strtoull(argv[3], NULL, 10) * MIB;
    share_bytes = grown_bytes / GROWERS;
    share_rate = strtod(argv[4], NULL) * (double)MIB / GROWERS;
    if (freed_bytes)
        load_idle_threads(THREADS, load_kind(argc > 5 ? argv[5] : "pooled"), freed_bytes, NULL);
    begin_s = load_seconds();
    pthread_t other;
    if (pthread_create(&other, NULL, grow, NULL))
        load_die("no thread");
    grow((void *)7);
    pthread_join(other, NULL);
    printf("growth mib_per_s=%.0f\n", (double)grown_bytes / MIB / (load_seconds() - begin_s));
    fflush(stdout);
    load_report();
}
