// size_class - the block sizes of the pools: four per doubling from 1 KiB to 1 MiB.
//
// The sizes are jemalloc's own size classes, so a block fills the run that jemalloc gives for it.
// At most 20 % of a block is slack. Class 0 means "not a block".
//
// From 16 KiB on each size has two classes. Blocks of one begin on a page; those of the *coloured*
// one begin up to 15 cache lines behind it. A coloured class is for requests that leave 1 KiB of
// the block unused anyway. Copying between two buffers that begin at nearly the same offset in
// their pages is slow. With the destination 1 to 31 bytes ahead of the source modulo 4096, `rep
// movsb` took 20 us for 64 KiB instead of 1.4 us on a Zen 4. redis does just that when it answers a
// GET. jemalloc colours every large block, at the price of a page each; this costs nothing.
#ifndef TIDEPOOL_POOL_COMMON_SIZE_CLASS_H
#define TIDEPOOL_POOL_COMMON_SIZE_CLASS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base.h"

#define SIZE_CLASS_MIN_BYTES ((size_t)1024)
#define SIZE_CLASS_MAX_BYTES ((size_t)1 << 20)
#define SIZE_CLASS_PLAIN 41                   // classes 1 .. 41 begin where jemalloc's runs do
#define SIZE_CLASS_FIRST_COLOURED_BYTES 16384 // and those from this size on have a coloured twin:
#define SIZE_CLASS_COLOURED 25                // classes 42 .. 66
#define SIZE_CLASS_COUNT (SIZE_CLASS_PLAIN + SIZE_CLASS_COLOURED)
#define SIZE_CLASS_END (SIZE_CLASS_COUNT + 1)
// The next ones up are runs. Those for requests below 1 KiB go in steps of 16 bytes, and the first
// is jemalloc's class of 8. The last is for any larger size.
#define SIZE_CLASS_RUN SIZE_CLASS_END
#define SIZE_CLASS_RUN_LARGE (SIZE_CLASS_RUN + 64)
#define SIZE_CLASS_RUN_END (SIZE_CLASS_RUN_LARGE + 1)
#define SIZE_CLASS_COLOUR_BYTES 1024 // what a coloured block gives away for its offset

// For each step of 256 bytes, of which all bounds are multiples, the class of the largest request
// in it; all zero until size_class_init(), which takes some us.
#define SIZE_CLASS_STEP_LG 8
extern uint8_t size_class_table[SIZE_CLASS_MAX_BYTES >> SIZE_CLASS_STEP_LG] HIDDEN;
void size_class_init(void);

// The class whose blocks hold `size` bytes with the least waste; 1 KiB <= size <= 1 MiB.
static inline unsigned size_class_of(size_t size)
{
    return size_class_table[(size - 1) >> SIZE_CLASS_STEP_LG];
}

static inline int size_class_is_coloured(unsigned class)
{
    return class > SIZE_CLASS_PLAIN;
}

// What a block takes from jemalloc. Classes i = class + 30 are spaced 2^(i/4) apart, in groups of
// four that double.
static inline size_t size_class_run_bytes(unsigned class)
{
    unsigned i = class + (size_class_is_coloured(class) ? 30 - SIZE_CLASS_COLOURED : 30);

    return (size_t)((i & 3) + 5) << (i >> 2);
}

// What a program may use of it.
static inline size_t size_class_bytes(unsigned class)
{
    return size_class_run_bytes(class) -
           (size_class_is_coloured(class) ? SIZE_CLASS_COLOUR_BYTES : 0);
}

static_assert(SIZE_CLASS_FIRST_COLOURED_BYTES == (size_t)8 << 11 &&
                  SIZE_CLASS_PLAIN - SIZE_CLASS_COLOURED + 1 + 30 == (11 << 2 | 3),
              "class 42 is the twin of 17, which is 16 KiB");
static_assert(sizeof(size_t) == 8, "64-bit only");

#endif
