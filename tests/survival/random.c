// random LIVE_MIB pooled|mixed [ROUNDS] - sizes and lifetimes at random, live bytes near their
// peak.
//
// pooled: 1 KiB to 1 MiB. mixed: a third of the bytes in blocks of 32 bytes to 1 KiB, the rest from
// 1 KiB to 4 MiB, so that small blocks and large ones compete for the same pages. A round replaces
// as many bytes as are live; each block dies when its slot is drawn.

#include <stdlib.h>
#include <string.h>

#include "load.h"

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

static void churn(struct population *p, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        add(p);
        done += p->next_free ? p->slot[p->next_free - 1]->size : 1;
    }
}

int main(int argc, char **argv)
{
    size_t peak_bytes = load_start(argc, argv);
    bool mixed = argc > 2 && !strcmp(argv[2], "mixed");
    size_t rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 12;
    struct population large, small;
    start(&large, mixed ? peak_bytes / 3 * 2 : peak_bytes, KIB, mixed ? 4 * MIB : MIB, 64 * KIB);
    start(&small, mixed ? peak_bytes / 3 : 0, 32, KIB, 128);
    // Small steps in turn, so that neither kind finds the other's pages untouched.
    size_t step = peak_bytes / 200;
    for (size_t i = 0; peak_bytes && i < rounds * 200; i++) {
        churn(&large, mixed ? step / 3 * 2 : step);
        if (mixed)
            churn(&small, step / 3);
    }
    while (large.next_free)
        drop(&large, large.next_free - 1);
    while (small.next_free)
        drop(&small, small.next_free - 1);
    load_report();
}
