// holes - pages of slabs in which nothing lives, and how the kernel gets them back.
//
// jemalloc gives blocks of 1 to 14 KiB out of slabs, and a slab's pages back when its last block is
// free: one live block keeps up to 28 KiB. But a page of which every block is free and jemalloc's
// again holds nothing: jemalloc keeps no data in free blocks, and clears each one that has to be
// zero. Such pages are found in the region's map (region.h), and go by MADV_DONTNEED.
//
// Another thread may be given such a block at that moment. So the purge publishes the pages that it
// works on, its window, before it reads the map. A thread that is given a block enters it in the
// map, and then asks for the window; all in one order (seq_cst). Either the purge sees the block,
// or the thread waits until the window has moved on. It writes to the block only after that.
#ifndef TIDEPOOL_POOL_REGION_HOLES_H
#define TIDEPOOL_POOL_REGION_HOLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base.h"

// Gives back up to `max_bytes` of such pages; those at the highest addresses first, for jemalloc
// uses the lowest first. Returns how many bytes. Pages that the program has marked stay. Call it on
// any thread outside of jemalloc. While another thread purges holes it returns 0. errno stays.
uint64_t holes_purge(uint64_t max_bytes);

// Bytes given back, ever.
uint64_t holes_purged(void);

// Called with the bytes of each block on such pages that is handed out again: it may count, and
// wake a thread. NULL for none. Set it once, early.
extern void (*holes_on_refill)(size_t bytes);

// For region.c: the block of [at, end), smaller than 16 KiB, is about to be jemalloc's again.
// Without such a block since the last time, a part of the region is not read.
void holes_expect(uintptr_t at, uintptr_t end);

// For region.c: by the thread that was given the block of [at, end), once it is in the map.
extern _Atomic uintptr_t holes_window HIDDEN; // where the pages under work begin; 0: nowhere
void holes_wait(uintptr_t at, uintptr_t end);
void holes_refill(size_t bytes);

static inline void holes_pass(uintptr_t at, uintptr_t end)
{
    if (unlikely(atomic_load(&holes_window)))
        holes_wait(at, end);
}

// In the child of a fork.
void holes_postfork_child(void);

#endif
