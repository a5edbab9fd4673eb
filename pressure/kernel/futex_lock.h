// futex_lock - a lock whose waiters sleep, for a limited time: its holder may be stopped in a
// debugger. And a futex_bell, for threads that wait for the holder's result and not for the lock.
//
// Threads that poll with short sleeps take the processor from the holder: sixty of them filled two
// processors. Here they sleep in the kernel, by raw futex(2). It is no point of cancellation,
// allocates nothing and is fit for signal handlers; it may change errno.
#ifndef TIDEPOOL_PRESSURE_KERNEL_FUTEX_LOCK_H
#define TIDEPOOL_PRESSURE_KERNEL_FUTEX_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// {0} is free. 1: held; 2: held, and threads may be waiting.
struct futex_lock {
    _Atomic uint32_t word;
};

static inline bool futex_lock_try(struct futex_lock *l)
{
    uint32_t free = 0;

    return atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

// False when it was not had within `ms`.
bool futex_lock_take(struct futex_lock *l, unsigned ms);
void futex_lock_drop(struct futex_lock *l);

// In the child of a fork, where the holder does not exist.
static inline void futex_lock_reset(struct futex_lock *l)
{
    atomic_store_explicit(&l->word, 0, memory_order_relaxed);
}

// A count of how often it rang. Read it first, then check whether there is something to wait for,
// then wait for the count to change: so no ring is missed.
struct futex_bell {
    _Atomic uint32_t rung;
};

static inline uint32_t futex_bell_read(struct futex_bell *b)
{
    return atomic_load_explicit(&b->rung, memory_order_acquire);
}

// False when it did not ring within `ms`.
bool futex_bell_wait(struct futex_bell *b, uint32_t seen, unsigned ms);
void futex_bell_ring(struct futex_bell *b);

#endif
