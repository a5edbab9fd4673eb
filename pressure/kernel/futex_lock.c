#include "pressure/kernel/futex_lock.h"

#include "shim/clock.h"
#include "shim/kernel.h"

// Until the word is another than `value`, or a wake-up, or `deadline`; false after that. A signal
// ends it early, so callers check the word again.
static bool sleep_while(_Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns)
{
    uint64_t now = clock_ns(CLOCK_MONOTONIC), left = deadline_ns - now;

    if (now >= deadline_ns)
        return false;
    kernel_futex_wait(word, value, left);
    return true;
}

bool futex_lock_take(struct futex_lock *l, unsigned ms)
{
    uint64_t deadline;

    if (futex_lock_try(l))
        return true;
    deadline = clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000;
    // A waiter that gives up leaves the 2 behind: one wake-up too many.
    while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire))
        if (!sleep_while(&l->word, 2, deadline))
            return false;
    return true;
}

void futex_lock_drop(struct futex_lock *l)
{
    if (atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2)
        kernel_futex_wake(&l->word, 1);
}

bool futex_bell_wait(struct futex_bell *b, uint32_t seen, unsigned ms)
{
    uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000;

    while (futex_bell_read(b) == seen)
        if (!sleep_while(&b->rung, seen, deadline))
            return false;
    return true;
}

void futex_bell_ring(struct futex_bell *b)
{
    atomic_fetch_add_explicit(&b->rung, 1, memory_order_release);
    kernel_futex_wake(&b->rung, INT32_MAX);
}
