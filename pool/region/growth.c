#include "pool/region/growth.h"

#include <stdatomic.h>
#include <stdint.h>

#include "pool/common/marks.h"
#include "pool/common/size_class.h"
#include "pool/region/region.h"
#include "shim/base.h"

#define RESERVED_MAX_KIB (UINT64_C(16) << 10)
// A note: that it is one of ours, KiB reserved, and the largest size in units of 64 bytes.
#define OURS (UINT32_C(1) << 31)
#define SIZE_BITS 15
#define SIZE_MASK ((UINT32_C(1) << SIZE_BITS) - 1)
static_assert(SIZE_CLASS_MAX_BYTES / 64 <= SIZE_MASK, "each size has a note");

// Of growth in place, until the count of what is reserved follows: 64 KiB.
#define STEP_UNITS 1024u

// The largest sizes of such blocks that were freed or cut, in units of 64 bytes.
static _Atomic uint32_t ends[4];
static _Atomic unsigned next_end;
static _Atomic uint64_t reserved_kib;

static uint32_t units_of(size_t size)
{
    return (uint32_t)((size + 63) / 64);
}

static uint32_t kib_of(uint32_t note)
{
    return (note & ~OURS) >> SIZE_BITS;
}

size_t growth_reserve(size_t size)
{
    size_t least = SIZE_CLASS_MAX_BYTES;

    for (unsigned i = 0; i < array_len(ends); i++) {
        size_t end = (size_t)atomic_load_explicit(&ends[i], memory_order_relaxed) * 64;
        least = end < least ? end : least;
    }
    if (least <= (size_t)units_of(size) * 64)
        return size;
    uint64_t reserved = atomic_load_explicit(&reserved_kib, memory_order_relaxed);
    return reserved + (least - size) / 1024 < RESERVED_MAX_KIB ? least : size;
}

// Of the block at `ptr`, of which `size` bytes are in use.
static uint32_t note_of(const void *ptr, size_t size)
{
    size_t bytes = size_class_bytes(region_entry_at(ptr)->class);
    size_t spare = bytes > size ? (bytes - size) / 1024 : 0;

    return OURS | (uint32_t)spare << SIZE_BITS | units_of(size);
}

void growth_begin(void *ptr, size_t size)
{
    uint32_t note = note_of(ptr, size);

    atomic_fetch_add_explicit(&reserved_kib, kib_of(note), memory_order_relaxed);
    region_set_note(ptr, note);
    region_mark_sampled(ptr);
}

// Now and then, what is reserved is counted anew.
static void note_size(void *ptr, uint32_t old, size_t size)
{
    uint32_t new = (old & ~SIZE_MASK) | units_of(size);

    if (unlikely((old ^ new) / STEP_UNITS)) {
        new = note_of(ptr, size);
        atomic_fetch_add_explicit(&reserved_kib, (uint64_t)kib_of(new) - kib_of(old),
                                  memory_order_relaxed);
    }
    *region_note_at(ptr) = new;
}

bool growth_in_place(void *ptr, size_t size)
{
    if (likely(!region_is_sampled(ptr)))
        return false;
    uint32_t note = region_note(ptr);
    size_t before = (size_t)(note & SIZE_MASK) * 64;
    if (!(note & OURS) || size > size_class_bytes(region_entry_at(ptr)->class) ||
        size <= before - before / 4)
        return false;
    // The largest counts, so that small steps down add up.
    if (size > before)
        note_size(ptr, note, size);
    return true;
}

static uint32_t take_note_off(void *ptr)
{
    uint32_t note = region_note(ptr);

    if (!(note & OURS))
        return 0;
    *region_note_at(ptr) = 0;
    atomic_fetch_sub_explicit(&reserved_kib, kib_of(note), memory_order_relaxed);
    return note;
}

static void add_end(uint32_t units)
{
    unsigned at = atomic_fetch_add_explicit(&next_end, 1, memory_order_relaxed);

    atomic_store_explicit(&ends[at % array_len(ends)], units, memory_order_relaxed);
}

bool growth_end(void *ptr)
{
    uint32_t note = take_note_off(ptr);

    if (!note)
        return false;
    add_end(note & SIZE_MASK);
    return true;
}

// Returns its last note; 0 where it is no such block. Where pages are marked, it stays one for
// jemalloc.
static uint32_t leave(void *ptr)
{
    uint32_t note = region_is_sampled(ptr) ? take_note_off(ptr) : 0;

    if (note && !atomic_load_explicit(&marks_were_made, memory_order_relaxed))
        region_mark_sampled(ptr);
    return note;
}

void growth_leave(void *ptr, size_t size)
{
    if (size > SIZE_CLASS_MAX_BYTES)
        add_end(SIZE_CLASS_MAX_BYTES / 64);
    leave(ptr);
}

void growth_stop(void *ptr)
{
    uint32_t note = leave(ptr);

    if (note)
        add_end(note & SIZE_MASK);
}
