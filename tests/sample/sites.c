// sites - five call sites that hold 10, 20, 30, 40 and 100 MiB, in blocks of 100 bytes to 2 MiB.
//
// Each site is a function of its own. Around what is kept, as much again comes and goes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walker.h"

#define MIB ((size_t)1 << 20)

static unsigned long held_blocks;
static void *volatile keep[1 << 20];

static unsigned next_random(void)
{
    static unsigned state = 12345;

    return state = state * 1103515245 + 12345, state >> 8;
}

// Sizes from `low` to `high`, about as many in each doubling.
static size_t size_between(size_t low, size_t high)
{
    size_t top = low;

    while (top < high && next_random() & 1)
        top *= 2;
    size_t size = top / 2 + next_random() % (top / 2 + 1);
    return size < low ? low : size > high ? high : size;
}

static void hold(void *block)
{
    if (!block)
        abort();
    keep[held_blocks++] = block;
}

#define SITE(name, call)                                                                           \
    __attribute__((noinline)) void name(size_t size);                                              \
    void name(size_t size)                                                                         \
    {                                                                                              \
        hold(call);                                                                                \
        free(malloc(size));                                                                        \
    }

static void *aligned(size_t size)
{
    void *block;

    return posix_memalign(&block, 4096, size) == 0 ? block : NULL;
}

SITE(site_10_small, malloc(size))
SITE(site_20_zeroed, calloc(1, size))
SITE(site_30_grown, realloc(malloc(size / 2 + 1), size))
SITE(site_40_aligned, aligned(size))
SITE(site_100_large, malloc(size))

static void fill(void site(size_t), size_t bytes, size_t low, size_t high)
{
    while (bytes > high) {
        size_t size = size_between(low, high);
        site(size);
        bytes -= size;
    }
    for (; bytes >= low; bytes -= bytes < high ? bytes : high)
        site(bytes < high ? bytes : high);
}

int main(void)
{
    walker_wait();
    fill(site_10_small, 10 * MIB, 100, 1000);
    fill(site_20_zeroed, 20 * MIB, 100, 60000);
    fill(site_30_grown, 30 * MIB, 900, 300000);
    fill(site_40_aligned, 40 * MIB, 4096, MIB);
    fill(site_100_large, 100 * MIB, 20000, 2 * MIB);
    printf("%lu blocks\n", held_blocks);
    return 0;
}
