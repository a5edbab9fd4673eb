// early - a library that allocates in its constructor and lives on those blocks to the end, its
// destructor included. Preloaded after the allocator, it is constructed before it.

#include "tests/preload/victim.h"

static void *blocks[COUNT(victim_sizes)];

__attribute__((constructor)) static void allocate(void)
{
    for (size_t i = 0; i < COUNT(blocks); i++) {
        free(malloc(victim_sizes[i]));
        blocks[i] = malloc(victim_sizes[i]);
        CHECK(blocks[i], "%zu bytes in a constructor", victim_sizes[i]);
        victim_fill(blocks[i], victim_sizes[i], i);
    }
}

__attribute__((destructor)) static void release(void)
{
    for (size_t i = 0; i < COUNT(blocks); i++) {
        CHECK(victim_intact(blocks[i], victim_sizes[i], victim_sizes[i], i), "block %zu", i);
        blocks[i] = realloc(blocks[i], victim_sizes[i] + 5000);
        free(blocks[i]);
        free(malloc(victim_sizes[i]));
    }
}
