// random LIVE_MIB pooled|mixed [ROUNDS [THREADS]] - sizes and lifetimes at random.
//
// pooled: 1 KiB to 1 MiB. mixed: a third of the bytes in blocks of 32 bytes to 1 KiB, the rest from
// 1 KiB to 4 MiB, so that small blocks and large ones compete for the same pages. A round replaces
// as many bytes as are live; each block dies when its slot is drawn, some after moments, some
// never. Every other round lives on two fifths of the budget: what is left over is scattered, and
// the next growth, of other sizes, has to find room around it.

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { STEPS = 200 };

struct population {
    struct block **slot;
    size_t slots, live_bytes, budget_bytes, min, max, next_free;
    uint64_t seed;
};

static void drop(struct population *p, size_t i)
{
    p->live_bytes -= p->slot[i]->size;
    load_give(p->slot[i]);
    p->slot[i] = p->slot[--p->next_free];
}

static void add(struct population *p)
{
    size_t size = load_random_size(&p->seed, p->min, p->max);
    while (p->next_free && (p->live_bytes + size > p->budget_bytes || p->next_free == p->slots))
        drop(p, load_random(&p->seed) % p->next_free);
    if (p->live_bytes + size > p->budget_bytes)
        return;
    p->slot[p->next_free++] = load_take(size);
    p->live_bytes += size;
}

// The table is memory of the program and counted as such; it is sized for a mean that log-uniform
// sizes stay above.
static void start(struct population *p, size_t budget_bytes, size_t min, size_t max, size_t mean)
{
    *p = (struct population){.budget_bytes = budget_bytes, .min = min, .max = max, .seed = min + 1};
    p->slots = budget_bytes / mean;
    if (p->slots)
        p->slot = load_table(p->slots * sizeof *p->slot);
}

static void empty(struct population *p)
{
    while (p->next_free)
        drop(p, p->next_free - 1);
}

static void churn(struct population *p, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        add(p);
        done += p->next_free ? p->slot[p->next_free - 1]->size : 1;
    }
}

static size_t peak_bytes, rounds, threads;
static bool mixed;
// Rounds begin together, so that the peak does not depend on the scheduler.
static pthread_barrier_t round_begins;

static void set_level(struct population *p, size_t full_bytes, size_t round)
{
    p->budget_bytes = round % 2 ? full_bytes / 5 * 2 : full_bytes;
}

static void *live(void *arg)
{
    struct population large, small;
    size_t share = peak_bytes / threads, large_bytes = mixed ? share / 3 * 2 : share;
    start(&large, large_bytes, KIB, mixed ? 4 * MIB : MIB, 64 * KIB);
    start(&small, share - large_bytes, 32, KIB, 128);
    large.seed += (uintptr_t)arg * 7919;
    // Small steps in turn, so that neither kind finds the other's pages untouched.
    for (size_t i = 0; share && i < rounds * STEPS; i++) {
        if (i % STEPS == 0)
            pthread_barrier_wait(&round_begins);
        set_level(&large, large_bytes, i / STEPS);
        set_level(&small, share - large_bytes, i / STEPS);
        churn(&large, large_bytes / STEPS);
        churn(&small, (share - large_bytes) / STEPS);
    }
    empty(&large);
    empty(&small);
    return NULL;
}

int main(int argc, char **argv)
{
    peak_bytes = load_start(argc, argv);
    mixed = argc > 2 && !strcmp(argv[2], "mixed");
    rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 12;
    threads = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    pthread_barrier_init(&round_begins, NULL, (unsigned)threads);
    load_in_threads(threads, live);
    load_report();
}
