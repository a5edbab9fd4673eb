// futex_lock - a lock that is waited for asleep, and never for ever: its holder may be stopped in a
// debugger. And a futex_bell, for those who wait for what the holder does and not for the lock.
//
// Threads that poll with short naps take the processor from the one they wait for: sixty of them
// were both processors of a machine. Here they sleep in the kernel, by raw futex(2): no point of
// cancellation, no allocation, fit for signal handlers. errno is not left alone.
#ifndef TIDEPOOL_PRESSURE_FUTEX_LOCK_H
#define TIDEPOOL_PRESSURE_FUTEX_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// {0} is free. 1: held; 2: held, and somebody may be waiting.
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

// A count of how often it rang. Read it first, then see whether there is something to wait for,
// then wait until it is another: so no ringing is missed.
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
