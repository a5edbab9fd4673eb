// size_class - the block sizes of the pools: four per doubling from 1 KiB to 1 MiB.
//
// Pure arithmetic. The sizes are jemalloc's own size classes, so a block fills the run that
// jemalloc gives for it and nallocx() tells the truth for pooled requests as well. At most 20 % of
// a block is slack. Class 0 means "not a block".
#ifndef TIDEPOOL_POOL_SIZE_CLASS_H
#define TIDEPOOL_POOL_SIZE_CLASS_H

#include <assert.h>
#include <stddef.h>

#define SIZE_CLASS_MIN_BYTES ((size_t)1024)
#define SIZE_CLASS_MAX_BYTES ((size_t)1 << 20)
#define SIZE_CLASS_COUNT 41 // classes 1 .. 41
#define SIZE_CLASS_END (SIZE_CLASS_COUNT + 1)

// The smallest class whose blocks hold `size` bytes; 1 KiB <= size <= 1 MiB.
//
// With g the position of the highest bit of size-1, classes are spaced 2^(g-2) apart, and the two
// bits below the highest tell which of the four it is.
static inline unsigned size_class_of(size_t size)
{
    size_t last = size - 1;
    unsigned shift = 61 - (unsigned)__builtin_clzl(last);

    return (unsigned)(last >> shift) + shift * 4 - 34;
}

static inline size_t size_class_bytes(unsigned class)
{
    unsigned i = class + 30;

    return (size_t)((i & 3) + 5) << (i >> 2);
}

// Blocks lie at multiples of their size inside a page-aligned run, or are page-aligned themselves,
// so this alignment comes for free.
static inline size_t size_class_alignment(unsigned class)
{
    size_t bytes = size_class_bytes(class);
    size_t natural = bytes & -bytes;

    return natural < 4096 ? natural : 4096;
}

static_assert(sizeof(size_t) == 8 && sizeof(long) == 8, "64-bit only: see __builtin_clzl above");

#endif
