// region_inside - what the two halves of the region share: region_space.c is the address space and
// the arena that lives in it, region.c the blocks.
#ifndef TIDEPOOL_POOL_REGION_INSIDE_H
#define TIDEPOOL_POOL_REGION_INSIDE_H

#include "pool/region.h"

// What signal handlers get: one block each, whatever the size. They lie at the region's begin,
// where nothing is mapped but the slots in use. Behind them begins jemalloc's part.
#define REGION_SLOTS_MAX 16u
#define REGION_SLOT_BYTES ((size_t)5 << 18)
#define REGION_FIRST_SLOT_BYTES ((size_t)1 << 20) // unit 0 is never a block
#define REGION_FIRST_BLOCK_BYTES ((size_t)22 << 20)

static_assert(REGION_FIRST_SLOT_BYTES + REGION_SLOTS_MAX * REGION_SLOT_BYTES <=
                  REGION_FIRST_BLOCK_BYTES,
              "all slots lie in front of the first block");

static inline uintptr_t region_slot_address(unsigned slot)
{
    return region.base + REGION_FIRST_SLOT_BYTES + slot * REGION_SLOT_BYTES;
}

// Maps a slot, readable and writable; false where that fails, or where something else is mapped
// there. Safe in a signal handler; errno is not left alone.
bool region_map_slot(unsigned slot);

#endif
