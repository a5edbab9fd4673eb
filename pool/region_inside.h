// region_inside - what the two halves of the region share, and nobody else: region_space.c is the
// reservation and the arena that lives in it, region.c the blocks.
#ifndef TIDEPOOL_POOL_REGION_INSIDE_H
#define TIDEPOOL_POOL_REGION_INSIDE_H

#include "pool/region.h"

// What signal handlers get, at the region's end: one block each, whatever the size. A region of 64
// MiB has 2 of them, one of 512 MiB and more has 16.
#define REGION_SLOTS_MAX 16u
#define REGION_SLOT_BYTES ((size_t)5 << 18)

static inline unsigned region_slot_count(void)
{
    size_t count = region.bytes >> 25;

    return count < REGION_SLOTS_MAX ? (unsigned)count : REGION_SLOTS_MAX;
}

// Where they begin, and jemalloc's part ends.
static inline size_t region_end_of_blocks(void)
{
    return region.bytes - region_slot_count() * REGION_SLOT_BYTES;
}

// Was a note ever set?
bool region_has_notes(void);

// Is one of those in use?
bool region_has_slots_out(void);

// A system call; errno is not left alone.
bool region_make_writable(uintptr_t at, size_t bytes);

#endif
