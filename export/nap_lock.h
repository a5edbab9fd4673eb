// nap_lock - a lock that is waited for asleep, and not for ever: its holder may be reading a file
// from a server that is gone. For what happens a few times a second at the most.
//
// Initialised as {0}. Nothing is called but the kernel, by a raw system call: not nanosleep(),
// which is a point of cancellation. errno is not left alone.
#ifndef TIDEPOOL_EXPORT_NAP_LOCK_H
#define TIDEPOOL_EXPORT_NAP_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct nap_lock {
    atomic_bool taken;
};

// False when it was not had in some `wait_ms`: naps end late.
static inline bool nap_lock_take(struct nap_lock *l, unsigned wait_ms)
{
    const struct timespec nap = {0, 100000};

    for (unsigned i = 0; atomic_exchange_explicit(&l->taken, true, memory_order_acquire); i++) {
        if (i == wait_ms * 10)
            return false;
        syscall(SYS_nanosleep, &nap, NULL);
    }
    return true;
}

// Also where the holder does not exist: in a child of fork().
static inline void nap_lock_drop(struct nap_lock *l)
{
    atomic_store_explicit(&l->taken, false, memory_order_release);
}

#endif
