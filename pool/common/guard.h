// guard - which thread is inside jemalloc, so that a signal handler does not enter it once more.
//
// The rule for signal handlers: every call into jemalloc stands between guard_enter() or
// guard_pass() and guard_leave(). A handler that interrupts its thread there gets no block from
// jemalloc, which may hold locks or have a list half changed, but one of
// pool/region/signal_block.h. Blocks of jemalloc that it frees wait for the next guard_leave(). (A
// handler that leaves such a call for good, by siglongjmp, leaves the locks held: nothing helps
// there.)
#ifndef TIDEPOOL_POOL_COMMON_GUARD_H
#define TIDEPOOL_POOL_COMMON_GUARD_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "shim/base.h"

// Is this thread inside jemalloc?
enum {
    GUARD_OUTSIDE,
    GUARD_INSIDE,
    GUARD_PASSING,     // and may enter it again where jemalloc says that it holds no lock
    GUARD_FORKING = 4, // outside, but jemalloc's locks are held over a fork
    GUARD_OWES = 8     // added to the last three: a handler has left blocks to guard_leave()
};
extern HIDDEN _Thread_local volatile sig_atomic_t guard_inside
    __attribute__((tls_model("initial-exec")));

// Is this thread inside, further down its stack? Then jemalloc must not be entered.
static inline bool guard_entered(void)
{
    return unlikely(guard_inside != GUARD_OUTSIDE);
}

// Around each call into jemalloc, by a thread that is outside. The second is for requests of the
// program's, which may refill a thread cache of jemalloc's: see pages_on_refill.
static inline void guard_enter(void)
{
    guard_inside = GUARD_INSIDE;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void guard_pass(void)
{
    guard_inside = GUARD_PASSING;
    atomic_signal_fence(memory_order_seq_cst);
}

// This thread is outside from here on, unless it owes something. In one instruction, so that no
// handler comes between the answer and that.
static inline bool guard_owes(void)
{
#if defined(__x86_64__) && !defined(TIDEPOOL_DEBUG)
    bool owes;

    __asm__ volatile("andl %2, %0"
                     : "+m"(guard_inside), "=@ccnz"(owes)
                     : "i"(GUARD_OWES)
                     : "memory");
    return owes;
#else
    atomic_signal_fence(memory_order_seq_cst);
    return __atomic_and_fetch(&guard_inside, GUARD_OWES, __ATOMIC_RELAXED);
#endif
}

// Returns its argument, so that a caller has nothing to keep meanwhile.
void *guard_free_deferred(void *result);

static inline void *guard_leave_with(void *result)
{
    return unlikely(guard_owes()) ? guard_free_deferred(result) : result;
}

static inline void guard_leave(void)
{
    if (unlikely(guard_owes()))
        guard_free_deferred(NULL);
}

// Around what runs in the middle of a request where jemalloc may be entered again. The second
// takes what the first returned.
static inline sig_atomic_t guard_step_out(void)
{
    sig_atomic_t was = guard_inside;

    atomic_signal_fence(memory_order_seq_cst);
    if (was == GUARD_PASSING)
        guard_inside = GUARD_OUTSIDE;
    return was;
}

void guard_step_in(sig_atomic_t was);

// Around what jemalloc's fork handlers do. A signal handler that forks may have interrupted a call
// into jemalloc, which goes on in both processes.
void guard_fork_begin(void);
void guard_fork_end(void);

// Did it?
static inline bool guard_fork_is_inside(void)
{
    return guard_inside & (GUARD_INSIDE | GUARD_PASSING);
}

// jemalloc's one call of pthread_key_create(), which the build gives this name: what it does at a
// thread's end is a call into it, too.
int guard_key_create(pthread_key_t *key, void (*destructor)(void *));

// By a handler whose thread is inside: leaves a block of jemalloc's, or of this region, to
// guard_leave(). The block is written to.
void guard_defer(void *ptr);

// Gives such a block back, inside: jemalloc's free(), until region_init() sets its own.
extern void (*guard_free_left)(void *ptr);

#endif
