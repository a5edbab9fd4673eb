// thread - how each of our threads is started and ended.
//
// A thread is detached, has a small stack, and blocks all signals from its first instruction on.
// No state, no .c, as base.h: the modules below may include it.
//
// Some calls of libc want a process of one thread, or change what a thread may do. Around such a
// call the thread ends first and none is started: see shim/own_thread/one_thread.h. The rule that
// keeps a start and such a call apart: the starter stores `there`, then reads `holds`; the caller
// adds to `holds`, then reads `there`. So at least one of the two sees the other.
#ifndef TIDEPOOL_SHIM_THREAD_H
#define TIDEPOOL_SHIM_THREAD_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/clock.h"

// At exit and at the end of the first thread.
#define THREAD_AWAIT_MS 500

// One of our threads, as other threads see it. All zero: there is none.
struct thread_slot {
    _Atomic int id;         // the kernel's number; 0 until it runs
    _Atomic bool there;     // created, and not known to be gone
    _Atomic unsigned holds; // callers that want the process without it
};

// From the thread itself, first of all.
static inline void thread_runs(struct thread_slot *slot)
{
    atomic_store(&slot->id, (int)syscall(SYS_gettid));
}

static inline int thread_create_(struct thread_slot *slot, const pthread_attr_t *attr,
                                 void *(*run)(void *), void *arg)
{
    pthread_t thread;
    int e = EAGAIN;

    atomic_store(&slot->id, 0);
    atomic_store(&slot->there, true);
    if (!atomic_load(&slot->holds))
        e = pthread_create(&thread, attr, run, arg);
    if (e)
        atomic_store(&slot->there, false);
    return e;
}

// A stack of `stack_bytes`, but at least `spare_bytes` more than what libc takes of it for the
// libraries' TLS. By one caller at a time. 0, or the error: EAGAIN, too, while the slot is held.
static inline int thread_start(struct thread_slot *slot, void *(*run)(void *), void *arg,
                               size_t stack_bytes, size_t spare_bytes)
{
    pthread_attr_t attr;
    sigset_t all, old;
    size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN) + spare_bytes;

    int e = pthread_attr_init(&attr);
    if (e)
        return e;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, least > stack_bytes ? least : stack_bytes);
    // The thread inherits this. And a handler that waits for the end of a thread must not interrupt
    // its creation.
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    e = thread_create_(slot, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return e;
}

static inline bool thread_is_gone_(struct thread_slot *slot)
{
    int t = atomic_load(&slot->id);

    return !atomic_load(&slot->there) || (t && syscall(SYS_tgkill, getpid(), t, 0) != 0);
}

// Until the thread has gone from the process, libc's count of threads included; false after `ms` at
// the latest. Not a point of cancellation. The slot must be held, or never used again.
static inline bool thread_await_end(struct thread_slot *slot, unsigned ms)
{
    for (unsigned us = 0, nap; !thread_is_gone_(slot); us += nap) {
        if (us >= ms * 1000)
            return false;
        nap = us < 1000 ? 50 : 1000;
        clock_nap_us(nap);
    }
    // The kernel forgets a thread's number just before it counts the process's threads anew.
    if (atomic_exchange(&slot->there, false))
        clock_nap_us(50);
    return true;
}

#endif
