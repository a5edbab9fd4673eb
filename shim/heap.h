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
#include "shim/jemalloc/fallback.h"
#include "shim/jemalloc/guarded.h"

#define HEAP_EXPORT __attribute__((visibility("default")))

// Brings the pools up; init.c has it. False while they cannot be, or are off.
extern bool (*const heap_start)(void) HIDDEN;

void *heap_alloc_slow(size_t size);
void heap_free_slow(void *ptr);
void heap_free_aligned(void *ptr);

// malloc(3): NULL and errno ENOMEM.
static inline void *heap_alloc(size_t size)
{
    // First and cheapest: what goes on to jemalloc has jemalloc's own cost still to come.
    if (size < SIZE_CLASS_MIN_BYTES)
        return heap_small(size);
    // A constant; of sizes in between that the pools do not serve no list has a block.
    if (unlikely(size > SIZE_CLASS_MAX_BYTES))
        return heap_alloc_slow(size);
    void *ptr = pool_get(size);
    if (likely(ptr))
        return ptr;
    return heap_alloc_slow(size);
}

// The block that is freed last is the next one of its size, and the program then writes to it. By
// that time its first line is in the processor's cache. Where it has no page this is no fault.
static inline void heap_expect_write(void *ptr)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(char *)ptr));
#else
    __builtin_prefetch(ptr, 1);
#endif
}

// free(3). Leaves errno alone.
static inline __attribute__((always_inline)) void heap_free(void *ptr)
{
    if (!pool_owns(ptr)) {
        if (unlikely(!((uintptr_t)ptr & (LARGE_CACHE_ALIGNMENT - 1)))) {
            heap_free_aligned(ptr);
            return;
        }
        heap_expect_write(ptr);
        heap_free_other(ptr);
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

#endif
