// map - which block begins where in the region, and in which state it is.
//
// The map has an entry for each KiB. No block is smaller than 1 KiB, so each block start has an
// entry of its own:
//   class   written when the block comes from jemalloc, read on every free. It is apart from
//           `state`, so that looking it up never waits for a store of the last malloc.
//   state   while the block is out: the low byte of its unit, which proves on free that this is
//           where a block starts, and that it is live. Another on a free list, and when it is
//           jemalloc's again. Where class is 0 there never was a block, whatever the state.
// The blocks themselves are never touched: at 64 KiB a touch is a cache and a TLB miss.
//
// A block that is out and *sampled*, or has marked pages, has a state of its own. So the fast path
// of free() takes it for no live block, and the slow path checks again. Its note is in a second
// map, of which a process that takes no samples touches nothing.
//
// An entry is written only by the owner of its block, so it needs no lock. Other threads read the
// fields only to diagnose a wrong free.
#ifndef TIDEPOOL_POOL_REGION_MAP_H
#define TIDEPOOL_POOL_REGION_MAP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/common/size_class.h"
#include "shim/base.h"

#define REGION_UNIT_LG 6

struct entry {
    uint8_t class;
    uint8_t state;
};

// What the states of a block that is sampled, and of one that is not out, differ in from that. The
// units of one KiB differ in four other bits. A block that is not out is on a list, or on its way;
// jemalloc's again; or that, and the kernel has some of its pages (holes.h).
enum { REGION_SAMPLED = 0x80, REGION_FREE = 0x40, REGION_RELEASED = 0x60, REGION_PURGED = 0x70 };

static_assert(sizeof(struct entry) == 2, "one entry for each KiB: 0.2 % of the pooled memory");

struct region {
    uintptr_t base;
    // What is mapped so far, with what lies before the first block; 0 while there is no region:
    // then nothing is pooled. It only grows, and before any address in the new part is given away.
    // A thread that was given one has synchronised with that, so an old value says nothing wrong.
    size_t bytes;
    size_t max_bytes;
    struct entry *map;
    uint32_t *notes;       // one for each entry
    uintptr_t map_of_zero; // where the entry of address 0 would be: saves a subtraction
    unsigned arena;        // jemalloc's index of the arena that lives here
};

extern struct region region HIDDEN;

// Where blocks begin: unit 0 is never one.
#define REGION_FIRST_BLOCK_BYTES ((size_t)2 << 20)

// What 32-bit unit numbers reach. Blocks beyond it come from jemalloc's own heap.
#define REGION_MAX_BYTES ((size_t)256 << 30)

// Does this page belong to an extent of small blocks? Any thread; takes no lock.
bool region_is_slab(uintptr_t page);

static inline struct entry *region_entry(uint32_t unit)
{
    return &region.map[unit >> (10 - REGION_UNIT_LG)];
}

// The entry by address. It is what free() waits for most, so it takes the fewest steps.
static inline struct entry *region_entry_at(const void *ptr)
{
    return (struct entry *)(region.map_of_zero + ((uintptr_t)ptr >> 10) * sizeof(struct entry));
}

static inline void *region_address(uint32_t unit)
{
    return (void *)(region.base + ((uintptr_t)unit << REGION_UNIT_LG));
}

// A plain load, which the compiler makes part of the compare, as it does with none that is atomic.
static inline size_t region_bytes(void)
{
#ifdef TIDEPOOL_DEBUG
    return __atomic_load_n(&region.bytes, __ATOMIC_RELAXED);
#else
    return region.bytes;
#endif
}

static inline bool region_holds(const void *ptr)
{
    return (uintptr_t)ptr - region.base < region_bytes();
}

// The unit of an address in the region, or a number beyond 32 bits where the address is not on a
// unit's boundary.
static inline uint64_t region_unit(const void *ptr)
{
    uint64_t offset = (uintptr_t)ptr - region.base;

    return offset >> REGION_UNIT_LG | offset << (64 - REGION_UNIT_LG);
}

// What the state of its entry is while a live block begins at `unit`; beyond a byte, and so no
// state, where that is no address on a unit's boundary.
static inline uint64_t region_live_state(uint64_t unit)
{
    return unit & (~UINT64_C(0) << (64 - REGION_UNIT_LG) | UINT8_MAX);
}

// In which of the states above is the block that begins in the KiB of this address? 0: live.
static inline unsigned region_kind(uintptr_t at, uint8_t state)
{
    return (state ^ (unsigned)((at - region.base) >> REGION_UNIT_LG)) & 0xf0;
}

// Read by threads that free the block at the same time, by mistake.
static inline uint8_t region_state(const struct entry *e)
{
    return __atomic_load_n(&e->state, __ATOMIC_RELAXED);
}

static inline void region_set_state(struct entry *e, uint8_t state)
{
    __atomic_store_n(&e->state, state, __ATOMIC_RELAXED);
}

// Does the block that began in this KiB last begin at `unit`, and is not out?
static inline bool region_is_free(const struct entry *e, uint64_t unit)
{
    uint64_t differs = region_state(e) ^ region_live_state(unit);

    return differs == REGION_FREE || differs == REGION_RELEASED || differs == REGION_PURGED;
}

// Is `ptr`, an address in the region, the start of a sampled block or run that is out?
static inline bool region_is_sampled(const void *ptr)
{
    const struct entry *e = region_entry_at(ptr);

    return (region_state(e) ^ REGION_SAMPLED) == region_live_state(region_unit(ptr)) && e->class;
}

static inline bool region_is_run(const void *ptr)
{
    return region_entry_at(ptr)->class >= SIZE_CLASS_RUN && region_is_sampled(ptr);
}

static inline void region_mark_sampled(void *ptr)
{
    struct entry *e = region_entry_at(ptr);

    region_set_state(e, region_state(e) ^ REGION_SAMPLED);
}

static inline uint32_t *region_note_at(const void *ptr)
{
    return &region.notes[((uintptr_t)ptr - region.base) >> 10];
}

static inline uint32_t region_note(const void *ptr)
{
    return *region_note_at(ptr);
}

// Is `ptr`, an address in the region, the start of a block that is out, and not sampled?
static inline bool region_is_live(const void *ptr)
{
    const struct entry *e = region_entry_at(ptr);

    return region_state(e) == region_live_state(region_unit(ptr)) && e->class;
}

#endif
