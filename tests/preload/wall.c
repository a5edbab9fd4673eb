// A mapping of the program's in the pools' way: they say so once and stay as they are, and requests
// are served from elsewhere.

#include "tests/preload/victim.h"

#include <sys/mman.h>

enum { BLOCKS = 200, BYTES = 500000 };

int main(void)
{
    static char *p[BLOCKS];
    uintptr_t first = (uintptr_t)malloc(BYTES) & ~(uintptr_t)4095;
    char *wall = MAP_FAILED;

    // At the first free pages behind the block.
    for (size_t i = 1; wall == MAP_FAILED && i < 100; i++)
        wall = mmap((void *)(first + i * MIB), 4096, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(wall != MAP_FAILED, "the pools have no end");
    *wall = 7;
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            p[i] = malloc(BYTES);
            CHECK(p[i], "no block beside the pools");
            victim_fill(p[i], BYTES, i);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            CHECK(victim_intact(p[i], BYTES, BYTES, i), "block %zu has changed", i);
            free(p[i]);
        }
    }
    CHECK(*wall == 7, "the program's mapping has changed");
    return 0;
}
