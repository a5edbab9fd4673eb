// malloc_usable_size stays the same while a block lives, and every byte of it belongs to the
// block: systemd and others write up to it. Neighbours would show a byte too many.

#include "tests/preload/victim.h"

#include <malloc.h>

static void one(size_t size)
{
    void *p[3];
    size_t usable[3];
    for (size_t i = 0; i < 3; i++) {
        p[i] = malloc(size);
        usable[i] = malloc_usable_size(p[i]);
        CHECK(usable[i] >= size, "%zu: usable %zu", size, usable[i]);
        // Twenty per cent of slack is what four classes a doubling cost; pages round up beyond.
        CHECK(size < KIB || size > MIB || usable[i] <= size + size / 4 + 16, "%zu: usable %zu",
              size, usable[i]);
        victim_fill(p[i], usable[i], size + i);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK(malloc_usable_size(p[i]) == usable[i], "%zu: was %zu, is %zu", size, usable[i],
              malloc_usable_size(p[i]));
        CHECK(victim_intact(p[i], usable[i], usable[i], size + i), "%zu", size);
    }
    // All that could be used moves along, not only what was asked for.
    p[1] = realloc(p[1], 2 * usable[1] + 1);
    CHECK(victim_intact(p[1], usable[1], usable[1], size + 1), "%zu moved", size);
    for (size_t i = 0; i < 3; i++)
        free(p[i]);
}

int main(void)
{
    for (size_t size = 0; size <= 3 * KIB; size++)
        one(size);
    for (size_t size = 3 * KIB; size < 4 * MIB; size += size / 37) {
        one(size);
        one(size & ~(size_t)4095);
    }
    return 0;
}
