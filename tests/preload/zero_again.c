// zero_again: blocks that calloc() hands out are zero, also where their pages were written, freed
// and given back before, and what was given back is gone from RSS. Run it where jemalloc keeps no
// address space (RLIMIT_AS, retain:false): there the pages come and go by other ways.

#include "tests/preload/victim.h"

#include <malloc.h>

enum { MOST = 1000, ROUNDS = 8 };

static void fill(size_t size, size_t blocks)
{
    static unsigned char *p[MOST];
    for (size_t i = 0; i < blocks; i++) {
        p[i] = calloc(1, size);
        CHECK(p[i] && p[i][0] == 0 && memcmp(p[i], p[i] + 1, size - 1) == 0, "block %zu of %zu", i,
              size);
        memset(p[i], 1, size);
    }
    for (size_t i = 0; i < blocks; i++)
        free(p[i]);
}

int main(void)
{
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t size = round % 2 ? 50000 : 64000 + round * 9000;
        fill(size, 40 * MIB / size);
        malloc_trim(0);
        size_t resident = victim_resident_bytes();
        CHECK(resident < 20 * MIB, "round %zu: %zu K resident after the trim", round,
              resident / KIB);
    }
    return 0;
}
