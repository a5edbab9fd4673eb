// layouts - what is known of jemalloc 5.3's structures. For this folder only.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_LAYOUTS_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_LAYOUTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Only pointers to these are passed on.
struct tsdn;
struct tsd;
struct arena;
struct tcache;
struct cache_bin;
struct pac;
struct pa_shard;
struct ehooks;
struct ecache;
struct base;

// The map of extents, a radix tree, and the lookup in it; and the size of each size class.
extern char je_arena_emap_global[];
extern size_t je_sz_index2size_tab[];
void *je_rtree_leaf_elm_lookup_hard(void *tsdn, void *tree, void *cache, uintptr_t key,
                                    bool dependent, bool init_missing);

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

// It need not be that of the page.
static inline uintptr_t extent_address(const struct edata *extent)
{
    return extent->address & ~UINT64_C(4095);
}

// What jemalloc does for a thread each time that it has allocated or freed so much.
struct te_ctx {
    bool is_alloc; // else it counts what was freed
    // Of the thread: bytes so far, and when the next such event is due; the last is what the fast
    // path reads, 0 where there is none.
    uint64_t *current, *last_event, *next_event, *next_event_fast;
};

// The begin of struct decay_s. Its first member is a malloc_mutex_s, of which the first is a
// mutex_prof_data_t: 64 bytes.
struct decay {
    struct {
        uint64_t profile[8];
        pthread_mutex_t lock;
        bool locked;
    } mutex;
    bool purging;
};

#endif
