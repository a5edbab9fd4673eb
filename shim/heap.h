// heap - one heap out of two: the pools where they serve a size, jemalloc for everything else.
//
// The exported functions of libc, C++ and jemalloc are a few lines each over these. All are safe
// from any thread, before any constructor and after any destructor.
#ifndef TIDEPOOL_SHIM_HEAP_H
#define TIDEPOOL_SHIM_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/jemalloc_private/large_cache.h"
#include "pool/pool.h"
#include "shim/base.h"
#include "shim/guarded.h"

#define HEAP_EXPORT __attribute__((visibility("default")))

void *heap_alloc_slow(size_t size);
void heap_free_slow(void *ptr);
void heap_free_aligned(void *ptr);

// What serves requests below 1 KiB, resizes blocks of jemalloc's and frees them: jemalloc itself,
// the same with a guard (guarded.h), or what counts for sampling first. Jumping through a pointer
// costs what a jump to a name costs.
extern HIDDEN void *(*heap_small)(size_t size);
extern HIDDEN void *(*heap_small_zeroed)(size_t count, size_t size);
extern HIDDEN void *(*heap_resized)(void *ptr, size_t size);

// What frees a block that is not of the pools: jemalloc, with the guard or without, or the
// allocator in front (aside.h).
extern HIDDEN void (*heap_free_other)(void *ptr);

// Our own definitions of what has these names, whichever is in front; to compare only.
void *heap_own_malloc(size_t size) HIDDEN;
void heap_own_free(void *ptr) HIDDEN;
int heap_own_posix_memalign(void **out, size_t alignment, size_t size) HIDDEN;
void *heap_own_aligned_alloc(size_t alignment, size_t size) HIDDEN;
void *heap_own_memalign(size_t alignment, size_t size) HIDDEN;
size_t heap_own_malloc_usable_size(void *ptr) HIDDEN;

static inline void *heap_from_jemalloc(size_t size, bool zero)
{
    if (size > SIZE_CLASS_MAX_BYTES)
        return guarded_large(size, zero);
    return zero ? guarded_calloc(1, size) : guarded_malloc(size);
}

// malloc(3): NULL and errno ENOMEM.
static inline void *heap_alloc(size_t size)
{
    // First and cheapest: what goes on to jemalloc has jemalloc's own cost still to come.
    if (size < SIZE_CLASS_MIN_BYTES)
        return heap_small(size);
    if (unlikely(!pool_takes(size)))
        return heap_alloc_slow(size);
    void *ptr = pool_get(size);
    if (likely(ptr))
        return ptr;
    return heap_alloc_slow(size);
}

// free(3). Leaves errno alone.
static inline __attribute__((always_inline)) void heap_free(void *ptr)
{
    if (!pool_owns(ptr)) {
        if (likely((uintptr_t)ptr & (LARGE_CACHE_ALIGNMENT - 1)))
            heap_free_other(ptr);
        else
            heap_free_aligned(ptr);
    } else if (unlikely(!pool_put(ptr)))
        heap_free_slow(ptr);
}

void *heap_calloc(size_t count, size_t size);
void *heap_realloc(void *ptr, size_t size);

// `alignment` is a power of two; NULL with errno ENOMEM.
void *heap_aligned(size_t alignment, size_t size);

// Past the pools: as je_mallocx, with what a large request asks of the watchdog first. 0 bytes
// are a request for one. errno is left as it comes.
void *heap_guarded(size_t size, int flags);

// Bytes that may be used at `ptr`, constant for the block's life; 0 for NULL.
size_t heap_usable_size(const void *ptr);

// Gives back to the kernel all that is free, from the caches of every thread to jemalloc's pages.
// Returns whether anything was.
bool heap_trim(void);

// Reports a double or an invalid free: of an address that the pools own, and at which no block is
// live. Returns only where TIDEPOOL_ON_MISUSE says so.
void heap_refuse(const void *ptr);

// Frees that were refused, for the statistics.
extern _Atomic uint64_t heap_double_frees, heap_invalid_frees;

#endif
