// layouts - what is known of jemalloc 5.3's structures. For this folder only.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_LAYOUTS_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_LAYOUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Only pointers to these are passed on.
struct tsdn;
struct arena;
struct tcache;
struct cache_bin;
struct pac;
struct pa_shard;
struct ehooks;
struct ecache;
struct base;

extern char je_arena_emap_global[];   // the map of extents
extern size_t je_sz_index2size_tab[]; // the size of each size class
extern struct arena *je_arenas[];     // NULL: not made yet

// What describes an extent. All zero but for what its callers set.
#define EDATA_BYTES 128

struct edata {
    uint64_t bits, address, size, rest[13];
};
_Static_assert(sizeof(struct edata) == EDATA_BYTES, "rest is the rest");

// In the bits below a page there is a serial number.
static inline uint64_t extent_pages(const struct edata *extent)
{
    return extent->size / 4096;
}

static inline unsigned extent_arena(const struct edata *extent)
{
    return extent->bits & 0xfff;
}

// It need not be that of the page.
static inline uintptr_t extent_address(const struct edata *extent)
{
    return extent->address & ~UINT64_C(4095);
}

// The map on 48-bit addresses with pages of 4 KiB is a table of tables. The second has 8 bytes for
// each page: the size class in the upper 16 bits, where the extent is described, and flags, the
// first of them for slabs. NULL: there is none.
static inline uint64_t *extent_entry(uintptr_t at)
{
    const uintptr_t *root = (const uintptr_t *)(void *)(je_arena_emap_global + 0x78);
    const uintptr_t mask = ((uintptr_t)1 << 18) - 1;
    uintptr_t table = __atomic_load_n(&root[at >> 30 & mask], __ATOMIC_ACQUIRE);

    return table ? (uint64_t *)table + (at >> 12 & mask) : NULL;
}

static inline const struct edata *extent_of(uint64_t entry)
{
    return (const struct edata *)(uintptr_t)(entry & ((UINT64_C(1) << 48) - EDATA_BYTES));
}

// What jemalloc does for a thread each time that it has allocated or freed so much.
struct te_ctx {
    bool is_alloc; // else it counts what was freed
    // Of the thread: bytes so far, and when the next such event is due; the last is what the fast
    // path reads, 0 where there is none.
    uint64_t *current, *last_event, *next_event, *next_event_fast;
};

// The begin of struct decay_s. Its mutex has the size of 5.3.0 in 5.3.1, but other members.
struct decay {
    uint64_t mutex[14];
    bool purging;
};

// The begin of a thread's data: whether it has a thread cache.
struct tsd {
    bool has_tcache;
};

#endif
