// self_test - what the wraps tell je_private_test() while it runs. For this folder only.
//
// Each function is a load and a compare for any other thread, and at any other time.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_SELF_TEST_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_SELF_TEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/jemalloc_private/layouts.h"
#include "shim/base.h"

enum self_test_wrap {
    SELF_TEST_FREED = 1,    // pa_dalloc
    SELF_TEST_KEPT = 2,     // ecache_dalloc
    SELF_TEST_EVICTED = 4,  // ecache_evict, with its arena marked as purging
    SELF_TEST_LOCKED = 8,   // malloc_mutex_prefork of a decay, which is locked then
    SELF_TEST_MISTAKEN = 16 // te_event_trigger, with other counters than the thread has
};

extern _Atomic pthread_t self_test_thread HIDDEN; // 0: none

static inline bool self_test_is_mine(void)
{
    pthread_t thread = atomic_load_explicit(&self_test_thread, memory_order_relaxed);

    return unlikely(thread) && thread == pthread_self();
}

// One of the first two, with the extent that it was called for.
void self_test_saw(enum self_test_wrap wrap, const struct edata *extent);
void self_test_saw_decay(struct decay *decay);
void self_test_saw_event(const struct te_ctx *ctx);
void self_test_saw_evict(void);

#endif
