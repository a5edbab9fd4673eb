// thread - how each of our threads is started: detached, with all signals blocked from its first
// instruction on, and with a small stack. No state, no .c, as base.h: the modules below may include
// it.
#ifndef TIDEPOOL_SHIM_THREAD_H
#define TIDEPOOL_SHIM_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREAD_AWAIT_MS 500

// A stack of `stack_bytes`, but at least `spare_bytes` more than what libc takes of it for the
// libraries' TLS. 0, or the error.
static inline int thread_start(void *(*run)(void *), void *arg, size_t stack_bytes,
                               size_t spare_bytes)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN) + spare_bytes;

    int e = pthread_attr_init(&attr);
    if (e)
        return e;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, least > stack_bytes ? least : stack_bytes);
    // It inherits this.
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    e = pthread_create(&thread, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return e;
}

// Until the thread that writes its kernel's number there has gone from the process, libc's count of
// threads included; half a second at most. Not a point of cancellation.
static inline void thread_await_end(_Atomic int *id)
{
    struct timespec ms = {0, 1000000};

    for (int i = 0; i < THREAD_AWAIT_MS; i++) {
        int t = atomic_load(id);
        if (t && syscall(SYS_tgkill, getpid(), t, 0) != 0)
            return;
        syscall(SYS_nanosleep, &ms, NULL);
    }
}

#endif
