// direct_view - what was counted since the last evaluation, and what that one found, as atomics.
//
// Evaluations write it, direct_reclaim.h reads it on the way of each request for pages. Any thread.
#ifndef TIDEPOOL_PRESSURE_DIRECT_VIEW_H
#define TIDEPOOL_PRESSURE_DIRECT_VIEW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pressure/policy/policy.h"

// Written by all; each pair on a line of its own.
struct direct_counter {
    _Alignas(64) _Atomic uint64_t total;
    _Atomic uint64_t due; // the total from which the next evaluation is due, or may be (grown)
};

// Written by evaluations only, read on every path that asks.
struct direct_view {
    _Alignas(64) _Atomic int level;
    _Atomic uint64_t keep_bytes;
    _Atomic uint64_t headroom_bytes;
    _Atomic uint64_t left_bytes;  // headroom after what was promised
    _Atomic uint64_t limit_bytes; // that leaves it; the address space where there is none
    _Atomic uint64_t grown_due;   // the total from which one is due, however recent the last
    // The growth already counted in the headroom, and from when on that is too old to go by.
    _Atomic uint64_t grown_then, old_at_ms;
};

extern struct direct_counter direct_grown, direct_shrunk, direct_freed, direct_reused;
extern _Atomic uint64_t direct_kept; // of promises (promise.h), what is touched, or will not be
extern struct direct_view direct_view;

// Changes whenever the program takes pages or large blocks are freed.
static inline uint64_t direct_moved(void)
{
    return atomic_load_explicit(&direct_grown.total, memory_order_relaxed) +
           atomic_load_explicit(&direct_freed.total, memory_order_relaxed);
}

static inline enum pressure_level pressure_level(void)
{
    return (enum pressure_level)atomic_load_explicit(&direct_view.level, memory_order_relaxed);
}

// What free memory we may hold just now; PRESSURE_UNLIMITED below High, unless a request would
// come near the limit.
static inline uint64_t pressure_keep_bytes(void)
{
    return atomic_load_explicit(&direct_view.keep_bytes, memory_order_relaxed);
}

// The headroom of the last evaluation, less what was taken since. PRESSURE_UNLIMITED where no limit
// is known, or before the first evaluation.
uint64_t pressure_room(void);

// False for what no limit has room for, or where none is known no address space. Such a request
// fails, or is address space only: there is nothing to prepare for.
static inline bool pressure_may_fit(size_t bytes)
{
    return bytes <= atomic_load_explicit(&direct_view.limit_bytes, memory_order_relaxed);
}

// Inside pressure/ only, from here on.
void direct_init(const struct pressure_options *options); // also after fork
// Was much taken since the last evaluation, or is it old?
bool direct_is_due(size_t pending_bytes);
void direct_evaluated(const struct pressure_action *action, const struct pressure_sample *sample,
                      uint64_t sample_us);

#endif
