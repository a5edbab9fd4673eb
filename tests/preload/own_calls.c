// A library that fakes clocks, files and the network, wherever it stands beside the allocator,
// hears of none of the calls that the allocator and its threads make for themselves.

#include "tests/preload/victim.h"

#include <malloc.h>

extern unsigned fakes_calls __attribute__((weak));

enum { BLOCKS = 64 };

// Past the size from which the watchdog's thread runs.
static void grow_and_shrink(size_t size)
{
    static char *block[BLOCKS];

    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc(size);
        memset(block[i], 'b', size);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    malloc_trim(0);
}

int main(void)
{
    CHECK(&fakes_calls, "fakes.so is not preloaded");
    for (size_t i = 0; i < COUNT(victim_sizes); i++)
        grow_and_shrink(victim_sizes[i]);
    usleep(50000);
    CHECK(fakes_calls == 0, "%u calls", fakes_calls);
    return 0;
}
