// pool - blocks of 1 KiB to 1 MiB, kept for reuse.
//
// A block is in one place: with its caller, in a thread's cache, in the transfer cache, or
// jemalloc's again. The first three are counted here; the limits of quota.h bound the second and
// third together.
//
// pool_takes, pool_get and pool_put are the way of a request; all are safe from any thread. In a
// signal handler they are as safe as the moment it interrupted. In the middle of a pooled request
// they always are; in the middle of jemalloc no more than malloc() itself.
//
// Locks, in order: the registry's (thread_cache_inside.h), a transfer cache's, jemalloc's own, the
// region's.
#ifndef TIDEPOOL_POOL_POOL_H
#define TIDEPOOL_POOL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base.h"

#include "pool/common/guard.h"
#include "pool/common/quota.h"
#include "pool/region/region.h"
#include "pool/thread_cache/thread_cache.h"

struct pool_options {
    const struct quota_bucket *bucket; // ascending bounds
    unsigned bucket_count;
    uint64_t max_bytes; // ceiling of the free bytes over all buckets
    enum region_thp thp;
};

// 0, or -errno: then pool_takes() is false for every size and nothing is pooled. Call once, while
// jemalloc works. `*can_drain` says whether other threads' caches can be drained on this kernel.
int pool_init(const struct pool_options *options, bool *can_drain);

// The sizes that are pooled: `span` sizes from `first` on. Before pool_init the whole range, so
// that the first request finds its way to it; without pools, none.
extern struct pool_range {
    size_t first, span;
} pool_range HIDDEN;

static inline bool pool_takes(size_t size)
{
    return size - pool_range.first < pool_range.span;
}

// A block of at least `size` bytes, for which pool_takes() is true; contents undefined. NULL when
// the fast path has none: try pool_get_transferred(). Leaves errno alone, as all of these do.
static inline void *pool_get(size_t size)
{
    return cache_pop(size_class_of(size));
}

// A block from the transfer cache; with `zero` its contents are zero. NULL when no block is free:
// try pool_get_new().
void *pool_get_transferred(size_t size, bool zero);

// Is the request for `size` bytes, which the lists did not serve, to be sampled (sampler.h)? Counts
// it: ask once. When it is, a request of *trial bytes was drawn for with *interval: what its
// probability follows from; and the lists may have a block for it now.
bool pool_sample(size_t size, size_t *trial, uint64_t *interval);

// A run (region.h) in place of what a request of that size and alignment would have got; NULL where
// none can be had.
void *pool_run_new(size_t size, size_t alignment, bool zero);

// A new block, from jemalloc. NULL when memory or the region is used up, or the size's bucket is
// off: the caller turns to jemalloc's own heap.
void *pool_get_new(size_t size, bool zero);

// In a frugal pool a new block that fills its run only partly does not keep the rest resident. The
// pages behind what was asked for go back to the kernel, for a system call each time.
void pool_set_frugal(bool frugal);
bool pool_is_frugal(void);

// Gives the whole pages of a live block behind its first `size` bytes back to the kernel, where at
// least POOL_REST_MIN_BYTES of its `have` bytes are such pages. Any block, of jemalloc's too.
#define POOL_REST_MIN_BYTES ((size_t)16 << 10)
void pool_give_rest(const void *ptr, size_t size, size_t have);

// Makes the calling thread's live block one for `size` bytes, where it lies. False, and it holds as
// much as before, where the pools have no such class, or region_block_resize() fails.
bool pool_resize(void *ptr, size_t size);

// What a block for `size` may be used for, or one that begins on a page; 0 where the pools do not
// serve that. Asking for just as much as a page-aligned block has gives one.
size_t pool_block_bytes(size_t size, bool page_aligned);

// Is this thread inside the pools already, further down its stack? True in a signal handler that
// interrupted them, and in a thread that has exited as far as they know: then nothing may be
// called but get and put.
static inline bool pool_entered(void)
{
    return cache_entered() || guard_entered();
}

// Does this address belong to the region? True for addresses inside it that are no block, too.
static inline bool pool_owns(const void *ptr)
{
    return region_holds(ptr);
}

// Takes back the block at `ptr`, which the pool owns; false when the fast path cannot: then
// pool_put_slow() must be called. Leaves errno alone.
static inline __attribute__((always_inline)) bool pool_put(void *ptr)
{
    return cache_push(ptr);
}

// What was wrong with a free.
enum pool_misuse {
    POOL_FINE,
    POOL_RELEASED,     // fine as well: there was no room for it, jemalloc has it
    POOL_DOUBLE_FREE,  // the start of a block that is free now
    POOL_INVALID_FREE, // an address that is not the start of a block
    POOL_SAMPLED,      // fine, but sampled: the caller has it, for pool_put_sampled()
};

// Changes nothing where there was misuse. Of several threads that free one block by these slow
// ways one gets it, and the others are told of a double free. The fast way takes the step from live
// to free by a load and a store: two threads within those few instructions both get the block.
enum pool_misuse pool_put_slow(void *ptr);

// What is wrong with freeing an address that is no live block's.
enum pool_misuse pool_misuse_of(const void *ptr);

// Gives what was sampled back to jemalloc. Not to a list, where the next request would find
// a block that still has its note.
void pool_put_sampled(void *ptr);

// Bytes of the live block or run at `ptr` that is sampled; 0 when there is none.
size_t pool_sampled_size(const void *ptr);

// Bytes of the live block at `ptr`, or run; 0 when there is none.
static inline size_t pool_usable_size(const void *ptr)
{
    return likely(region_is_live(ptr)) ? size_class_bytes(region_entry_at(ptr)->class)
                                       : pool_sampled_size(ptr);
}

// Prepares `count` free blocks for requests of `size`, as far as the limits allow; returns how
// many.
uint32_t pool_warm_up(size_t size, uint32_t count);

// Gives free blocks back to jemalloc, those of other threads' caches included, until at most
// `keep_bytes` remain. Returns the bytes of the blocks given.
uint64_t pool_trim(uint64_t keep_bytes);

// Before pages are taken for a large block: gives free blocks of 16 KiB and more back to jemalloc,
// whose pages may serve it then. `bytes` of them or a little more, less where there are less: first
// the sizes of which most lies in the transfer cache. Those that pool_warm_up() made stay, and
// those of buckets whose limit the user set. All threads together give 400 blocks in 16 ms at most.
// Returns the bytes of the blocks given.
uint64_t pool_give_way(uint64_t bytes);

// False where these 400 have gone, or there were none, in the last 16 ms.
bool pool_may_give_way(void);

// Moves what the calling thread's cache keeps to the transfer cache; returns its bytes.
uint64_t pool_drain_self(void);

// Gives back what has not been used since the last call; returns its bytes. For a clock's tick.
uint64_t pool_age(void);

struct pool_bucket_stats {
    size_t bound_bytes;
    uint64_t limit;
    bool limit_is_bytes;
    uint64_t created;     // requests for which jemalloc was asked for a block
    uint64_t reused;      // requests that were served with a block used before
    uint64_t freed;       // blocks given back by the program
    uint64_t released;    // blocks given back to jemalloc
    uint64_t drained;     // blocks taken out of thread caches: by a reclaim, by age, at thread exit
    uint64_t overflows;   // frees that found no room because a limit was reached
    uint64_t free_blocks; // kept for reuse now
    uint64_t free_bytes;
    uint64_t live_blocks; // with the program now
    uint64_t live_bytes;  // their sizes, slack included
    // Of those, what no request asked for: by the mean of requests seen, not exact.
    uint64_t slack_bytes;
};

// Bytes of free blocks, in caches, transfer cache and large_cache.h; as exact as the statistics,
// and cheap.
uint64_t pool_free_bytes(void);

// Fills one entry a bucket and returns how many there are. Counters of other threads are read
// while they run: each is right, a sum may be a few requests old.
unsigned pool_stats(struct pool_bucket_stats stats[QUOTA_BUCKETS_MAX]);

// Around fork, in this order: prefork, then one of the others.
void pool_prefork(void);
void pool_postfork_parent(void);
void pool_postfork_child(void);

// In a child with one thread whose parent ran no prefork. Anywhere, in a call of jemalloc's too.
void pool_forget_threads(void);

#endif
