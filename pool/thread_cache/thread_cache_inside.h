// thread_cache_inside - what the parts of the thread caches share among themselves.
// thread_cache_owner.c is the owner's side, bins.c changes the lists of one class,
// thread_cache_drain.c takes their blocks from outside, and thread_cache_count.c counts them.
#ifndef TIDEPOOL_POOL_THREAD_CACHE_THREAD_CACHE_INSIDE_H
#define TIDEPOOL_POOL_THREAD_CACHE_THREAD_CACHE_INSIDE_H

#include <pthread.h>

#include "pool/thread_cache/thread_cache.h"

extern struct cache_registry {
    pthread_mutex_t lock; // before the transfer cache's locks; held while caches are revoked
    // Every cache there is; only ever prepended, so counting needs no lock. A cache keeps its
    // counts when it goes from one thread to the next.
    struct cache *_Atomic all;
    _Atomic unsigned threads;
    _Atomic bool can_revoke; // as far as the kernel was heard yet; never again once it refused
    bool has_key;
    pthread_key_t key;
    struct cache *forking; // of the thread that forks, while it does
} cache_registry;

// Where a thread has no cache: before its first request, and after its exit or while it attaches.
extern struct cache cache_no_owner, cache_departed;

// Asks the kernel for what revoking takes.
bool cache_can_revoke(void);

// Quota is missing somewhere: the lists of any thread that have lain still for 10 ms are to give
// theirs up. The first is called inside a cache and makes a note. The second, outside of any, heeds
// it: at most every 10 ms and every 500 us a thread, since to read one thread's lists takes 5 us.
void cache_want_idle(void);
void cache_drain_idle_if_wanted(void);

// Without membarrier the owner is asked by `revoked` to empty its cache itself; it does so here.
void cache_heed_request(struct cache *t);

// Acquire and release, for the threads that count: see thread_cache_count.c. On x86 they cost
// nothing.
static inline uint64_t cache_load(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

static inline void cache_store(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_release);
}

static inline uint32_t cache_load32(_Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static inline void cache_store32(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static inline void cache_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline void cache_next_version(struct bin_ledger *l)
{
    cache_store32(&l->version, cache_load32(&l->version) + 1);
}

// Slots that all lists of a cache can come to have: each class's first, and two longer ones that
// took its place.
#define CACHE_FIRST_ROOM 47u
#define CACHE_SECOND_ROOM 127u
#define CACHE_SLOTS                                                                                \
    (SIZE_CLASS_COUNT * (CACHE_FIRST_ROOM + 1 + CACHE_SECOND_ROOM + 1 + CACHE_LIST_MAX + 1))
#define CACHE_BYTES (sizeof(struct cache) + CACHE_SLOTS * sizeof(uint32_t))

static inline uint32_t cache_list_length(struct bin *b)
{
    uint32_t *top = atomic_load_explicit(&b->top, memory_order_acquire);

    return (uint32_t)(top - atomic_load_explicit(&b->list, memory_order_acquire));
}

static inline uint32_t cache_list_capacity(struct bin *b)
{
    uint32_t *full = atomic_load_explicit(&b->full, memory_order_acquire);

    return (uint32_t)(full - atomic_load_explicit(&b->list, memory_order_acquire));
}

#endif
