// tight LIVE_MIB KIND OPERATIONS - live data that stays as large as it is, one block replaced at a
// time.
//
// Every operation frees a block drawn at random and takes one of the same size, so that nothing
// is ever there to reclaim, whatever the level says.

#include <math.h>
#include <stdlib.h>

#include "load.h"

int main(int argc, char **argv)
{
    size_t live_bytes = load_start(argc, argv);
    if (argc < 4)
        load_die("tight LIVE_MIB KIND OPERATIONS");
    struct load_kind kind = load_kind(argv[2]);
    size_t operations = strtoull(argv[3], NULL, 10), n = 0;
    // The mean of log-uniform sizes, and some room for chance.
    double mean = (double)(kind.max - kind.min) / log((double)kind.max / (double)kind.min);
    size_t slots = (size_t)((double)live_bytes / mean * 1.2) + 64;
    struct block **slot = load_table(slots * sizeof *slot);
    uint64_t seed = 9;
    for (; n < slots && load_live() + kind.max < live_bytes; n++)
        slot[n] = load_take(load_random_size(&seed, kind.min, kind.max));
    while (operations--) {
        size_t i = load_random(&seed) % n, size = slot[i]->size;
        load_give(slot[i]);
        slot[i] = load_take(size);
    }
    load_report();
}
