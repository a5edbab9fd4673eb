// direct_reclaim - evaluation by a thread that is about to take pages.
//
// A timer alone is late: at 2 GB/s of growth one of 5 s is late by 10 GB. So each thread that takes
// pages counts them here. Once they add up to a fraction of the last known headroom, one thread
// evaluates, and reclaims before it goes on. The headroom itself may be gone, because a limit was
// set or the process was moved to another cgroup. After each MiB an evaluation is therefore due as
// well, if the last one is 2 ms old, or 64 times as old as it took. Other threads go on while there
// is room. Once half of the room that the last evaluation found has been handed out, they wait for
// the evaluation under way, and at Critical for its reclaim too.
//
//   not due     one relaxed add on a shared line and a compare: for page-level paths (refill of a
//               pool class, a large allocation, a slab), not for each malloc
//   due         an evaluation, some 50 us, by one thread
//
// Before the first evaluation the limit is unknown. It is read after a few MiB of growth, and the
// watchdog's thread is asked for at the watch threshold (watchdog_thread_poke() starts it).
//
// The caller holds no lock that a reclaim takes. Signal handlers and exiting threads may call it.
// It does not recurse (what an evaluation allocates leads to no evaluation), and leaves errno
// alone.
#ifndef TIDEPOOL_PRESSURE_DIRECT_RECLAIM_H
#define TIDEPOOL_PRESSURE_DIRECT_RECLAIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pressure/direct_view.h"
#include "shim/base.h"

void direct_grow_due(size_t bytes);
void direct_shrink_due(size_t bytes);

// Pages are taken while jemalloc's locks are held, where an evaluation is impossible. So here is
// the count, which only wakes the thread when an evaluation is due ...
void direct_count_due(uint64_t total);

static inline void pressure_count(size_t bytes)
{
    uint64_t total =
        atomic_fetch_add_explicit(&direct_grown.total, bytes, memory_order_relaxed) + bytes;
    if (unlikely(total >= atomic_load_explicit(&direct_grown.due, memory_order_relaxed)))
        direct_count_due(total);
}

// ... and the evaluation, taken before `bytes` are asked for. Would it be taken?
static inline bool pressure_asks(size_t bytes)
{
    uint64_t total = atomic_load_explicit(&direct_grown.total, memory_order_relaxed);
    return total + bytes >= atomic_load_explicit(&direct_view.grown_due, memory_order_relaxed);
}

static inline void pressure_ask(size_t bytes)
{
    uint64_t total = atomic_load_explicit(&direct_grown.total, memory_order_relaxed);
    if (unlikely(total + bytes >= atomic_load_explicit(&direct_grown.due, memory_order_relaxed)))
        direct_grow_due(bytes);
}

// `bytes` of pages were given back to jemalloc, where they stay ours for a while. Enough of them
// lead to an evaluation, as growth does, which at High and above may find too much free memory.
static inline void pressure_shrink(size_t bytes)
{
    uint64_t total = atomic_fetch_add_explicit(&direct_shrunk.total, bytes, memory_order_relaxed);
    if (unlikely(total + bytes >= atomic_load_explicit(&direct_shrunk.due, memory_order_relaxed)))
        direct_shrink_due(bytes);
}

// Pages that jemalloc frees under its own locks. There is no evaluation here either, and after a
// large free the program may ask for nothing more, while its neighbours need the pages. So enough
// of them wake the thread.
void direct_free_due(void);

static inline void pressure_count_free(size_t bytes)
{
    uint64_t total = atomic_fetch_add_explicit(&direct_freed.total, bytes, memory_order_relaxed);
    if (unlikely(total + bytes >= atomic_load_explicit(&direct_freed.due, memory_order_relaxed)))
        direct_free_due();
}

// `bytes` of pages that lay free with jemalloc were handed out. The kernel's count rises only where
// blocks are trimmed, because some of those pages are not resident. Enough of them lead to an
// evaluation.
static inline void pressure_reuse(size_t bytes)
{
    uint64_t total = atomic_fetch_add_explicit(&direct_reused.total, bytes, memory_order_relaxed);
    if (unlikely(total + bytes >= atomic_load_explicit(&direct_reused.due, memory_order_relaxed)))
        direct_shrink_due(bytes);
}

// Inside pressure/ only: wakes the watchdog's thread. Set before there is anything to count.
extern void (*direct_wake)(void);

#endif
