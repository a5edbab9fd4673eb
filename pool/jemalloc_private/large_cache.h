// large_cache - a few free blocks of more than 1 MiB, kept as jemalloc made them.
//
// jemalloc has no cache for them: each one that is freed is merged with its neighbours, and each
// one that is taken is cut again, some 2,500 instructions the pair. From 8 MiB up (TIDEPOOL_LIMIT's
// eighth where that is more) its pages also go back to the kernel at once. A program that works in
// such buffers frees and takes the same few again. So at most eight free blocks wait here. A block
// leaves for a request of its size class, after two ticks of pool_age(), or when memory is short.
// A buffer that grows by realloc() gets the place of one that had grown, of which it takes the
// first part. So it grows into what lies free behind it, and is not copied at each size class. The
// blocks count against TIDEPOOL_POOL_MAX, and are 64 MiB at most.
//
// jemalloc takes such a block for one in use; its counts of what a thread has taken and freed leave
// out what is served from here. Blocks of arenas that the program made itself are not kept, because
// it may reset them, nor are blocks with marked pages (marks.h).
//
// Lock-free: any thread, signal handlers and both sides of a fork too. Never touches errno.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_LARGE_CACHE_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_LARGE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define LARGE_CACHE_MAX_BYTES ((size_t)64 << 20) // of one block
#define LARGE_CACHE_ALIGNMENT 65536              // others are not kept

// Begins to keep blocks of arenas below `arena`: the pools' was made when jemalloc had none but its
// own. Once, when there is a region.
void large_cache_init(unsigned arena);

// A block for a request of `size` bytes, more than 1 MiB; contents undefined. NULL: none is here.
void *large_cache_take(size_t size);

// The longest one of at least `size` bytes, more than 1 MiB, that realloc() had made larger. NULL:
// none is here.
void *large_cache_take_grown(size_t size);

// realloc() made the block at `from` larger, which is at `to` now, more than 1 MiB.
void large_cache_grew(const void *from, const void *to);

enum large_put {
    LARGE_REFUSED, // for jemalloc: no such block, or no room for it
    LARGE_KEPT,
    LARGE_TWICE, // it is here already: a double free
};

// `ptr` is an address on LARGE_CACHE_ALIGNMENT, NULL among them, and not of the region.
enum large_put large_cache_put(void *ptr);

uint64_t large_cache_bytes(void);

// Gives them to jemalloc; returns their bytes. Not by a thread inside jemalloc (region.h).
uint64_t large_cache_drain(void);

// Gives those that were put here before the last such call to jemalloc, and as many bytes of pages
// to the kernel; returns them.
uint64_t large_cache_age(void);

#endif
