// witness - what the wraps tell the self-test while it runs. For this folder only.
//
// Each function is a load and a compare for any other thread, and at any other time.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_WITNESS_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_WITNESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/jemalloc_private/layouts.h"
#include "shim/base.h"

enum witness_wrap {
    WITNESS_FREED = 1,    // pa_dalloc
    WITNESS_KEPT = 2,     // ecache_dalloc
    WITNESS_EVICTED = 4,  // ecache_evict, with its arena marked as purging
    WITNESS_LOCKED = 8,   // malloc_mutex_prefork of a decay that nothing purges
    WITNESS_MISTAKEN = 16 // te_event_trigger, with other counters than the thread has
};

extern _Atomic pthread_t witness_thread HIDDEN; // 0: none

// By the self-test: what is looked for, and what was seen of it.
extern struct witness {
    unsigned seen;
    const struct edata *extent; // of the block
    const struct decay *decay;  // of arena 0's dirty pages
    uint64_t *allocated, *deallocated;
    struct tsd *tsd; // of an event
} witness;

static inline bool witness_is_asked(void)
{
    pthread_t thread = atomic_load_explicit(&witness_thread, memory_order_relaxed);

    return unlikely(thread) && thread == pthread_self();
}

// One of the first two, with the extent that it was called for.
void witness_saw(enum witness_wrap wrap, const struct edata *extent);
void witness_saw_decay(struct decay *decay);
void witness_saw_event(struct tsd *tsd, const struct te_ctx *ctx);
void witness_saw_evict(void);

#endif
