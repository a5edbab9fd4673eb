#include "pool/jemalloc_private/je_fork.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "pool/common/guard.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/witness.h"
#include "shim/clock.h"

#define GIVE_UP_NS ((uint64_t)10 * 1000000000)
#define NAP_US 50

void __real_je_pa_shard_prefork0(struct tsdn *, struct pa_shard *);
void __wrap_je_pa_shard_prefork0(struct tsdn *, struct pa_shard *);
void __real_je_malloc_mutex_prefork(struct tsdn *, struct decay *);
void __wrap_je_malloc_mutex_prefork(struct tsdn *, struct decay *);
// Lets go of a mutex, and nothing else.
void je_malloc_mutex_postfork_parent(struct tsdn *, struct decay *);

void __real_je_malloc_mutex_lock_slow(void *mutex);
void __wrap_je_malloc_mutex_lock_slow(void *mutex);

void (*je_fork_on_wait)(void);

// By the thread that holds jemalloc's first lock of a fork: ctl_mtx.
static bool locks_are_decays, threads_are_gone;

// Called with the lock of `decay`, and returns with it.
static void await_purge(struct tsdn *tsdn, struct decay *decay)
{
    uint64_t give_up = threads_are_gone ? 0 : clock_ns(CLOCK_MONOTONIC) + GIVE_UP_NS;
    int saved = errno;

    // A signal handler that forks may have interrupted a purge of ours; that goes on in both.
    while (decay->purging && (threads_are_gone || !guard_fork_is_inside())) {
        if (clock_ns(CLOCK_MONOTONIC) >= give_up) {
            decay->purging = false;
            break;
        }
        je_malloc_mutex_postfork_parent(tsdn, decay);
        clock_nap_us(NAP_US);
        __real_je_malloc_mutex_prefork(tsdn, decay);
    }
    errno = saved;
}

void __wrap_je_malloc_mutex_prefork(struct tsdn *tsdn, struct decay *decay)
{
    __real_je_malloc_mutex_prefork(tsdn, decay);
    if (!locks_are_decays)
        return;
    if (witness_is_asked())
        witness_saw_decay(decay);
    else
        await_purge(tsdn, decay);
}

// Locks the arena's two decays, for dirty pages and for muzzy ones, and nothing else.
void __wrap_je_pa_shard_prefork0(struct tsdn *tsdn, struct pa_shard *shard)
{
    locks_are_decays = je_private_is_on();
    __real_je_pa_shard_prefork0(tsdn, shard);
    locks_are_decays = false;
}

void __wrap_je_malloc_mutex_lock_slow(void *mutex)
{
    if (je_fork_on_wait && je_private_is_on())
        je_fork_on_wait();
    __real_je_malloc_mutex_lock_slow(mutex);
}

void je_fork_forget_threads(void)
{
    if (!je_private_is_on())
        return;
    je_jemalloc_postfork_child();
    threads_are_gone = true;
    je_jemalloc_prefork();
    je_jemalloc_postfork_parent();
    threads_are_gone = false;
}
