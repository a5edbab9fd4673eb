// region_inside - what the two halves of the region share: region_space.c is the address space and
// the arena that lives in it, region.c the blocks.
#ifndef TIDEPOOL_POOL_REGION_REGION_INSIDE_H
#define TIDEPOOL_POOL_REGION_REGION_INSIDE_H

#include "pool/region/region.h"

// Where blocks begin: unit 0 is never one.
#define REGION_FIRST_BLOCK_BYTES ((size_t)2 << 20)

// What 32-bit unit numbers reach. Blocks beyond it come from jemalloc's own heap.
#define REGION_MAX_BYTES ((size_t)256 << 30)

// Does this page belong to an extent of small blocks? Any thread; takes no lock.
bool region_is_slab(uintptr_t page);

#endif
