// hands_over - frees what it had in small blocks, and takes as much in large ones, which come from
// another arena. Run it with a limit that has not room for both.

#include "tests/preload/victim.h"

enum { SMALL = 64, LARGE = 200 * 1024, BYTES = 80 << 20, LIMIT_MIB = 128 };

static void *small[BYTES / SMALL], *large[BYTES / LARGE];

int main(void)
{
    for (size_t i = 0; i < BYTES / SMALL; i++)
        memset(small[i] = malloc(SMALL), 1, SMALL);
    for (size_t i = 0; i < BYTES / SMALL; i++)
        free(small[i]);
    for (size_t i = 0; i < BYTES / LARGE; i++) {
        memset(large[i] = malloc(LARGE), 1, LARGE);
        size_t resident = victim_resident_bytes() / MIB;
        CHECK(resident < LIMIT_MIB, "%zu MiB resident after %zu blocks", resident, i);
    }
    return 0;
}
