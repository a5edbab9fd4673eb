// signal_block - memory for a signal handler that interrupted its thread inside jemalloc.
//
// That thread may hold jemalloc's locks, or have half of a list changed, so the handler's request
// must not enter jemalloc. Each block here is a mapping of its own and begins on a page. Its size
// stands in a table by page number, a radix tree that only grows. It takes 32 KiB of address space
// for each 16 MiB in which blocks lay; only pages that were written to take memory.
//
// A block costs an mmap(2) and a munmap(2), 1 to 2 us, and at least a page of memory once touched.
// All functions are safe from any thread and any signal handler, take no lock and leave errno
// alone.
#ifndef TIDEPOOL_POOL_REGION_SIGNAL_BLOCK_H
#define TIDEPOOL_POOL_REGION_SIGNAL_BLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base.h"

// A zeroed block of at least `size` bytes, and of no less than jemalloc gives for that size and
// alignment (a power of two). NULL where the kernel refuses.
void *signal_block_new(size_t size, size_t alignment);

// For a pointer that may be a block's.
size_t signal_block_look_up(const void *ptr);
bool signal_block_remove(void *ptr);

// Was there ever such a block in this process?
extern _Atomic bool signal_block_used HIDDEN;

static inline bool signal_block_may_be(const void *ptr)
{
    return ((uintptr_t)ptr & 4095) == 0 &&
           atomic_load_explicit(&signal_block_used, memory_order_relaxed);
}

// Bytes of the block that begins at `ptr`; 0 where none does.
static inline size_t signal_block_size(const void *ptr)
{
    return signal_block_may_be(ptr) ? signal_block_look_up(ptr) : 0;
}

// Gives a block back to the kernel; false where none begins at `ptr`.
static inline bool signal_block_delete(void *ptr)
{
    return signal_block_may_be(ptr) && signal_block_remove(ptr);
}

#endif
