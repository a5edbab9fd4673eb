// signal - the functions by which a program installs a signal handler: from the first one on,
// each call into jemalloc is guarded (guarded.h), because the handler may allocate.
//
// The calls go on to the next definition, libc's or another interposer's (the JVM's libjsig), and
// change nothing else. What is installed by the raw system call is not seen.
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>

#include "shim/heap.h"
#include "shim/jemalloc/guarded.h"

int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
sighandler_t bsd_signal(int sig, sighandler_t handler);
sighandler_t __sysv_signal(int sig, sighandler_t handler);

static void expect(sighandler_t handler)
{
    if (handler != SIG_DFL && handler != SIG_IGN && handler != SIG_ERR)
        guarded_from_now_on();
}

// A race writes the same value twice.
static void *next(void *_Atomic *found, const char *name)
{
    void *fn = *found;

    if (!fn)
        *found = fn = dlsym(RTLD_NEXT, name);
    return fn;
}

typedef int sigaction_fn(int, const struct sigaction *, struct sigaction *);

static int act_on(void *_Atomic *found, const char *name, int sig, const struct sigaction *act,
                  struct sigaction *old)
{
    sigaction_fn *fn = (sigaction_fn *)next(found, name);

    // With SA_SIGINFO the handler is of another type, in the same place.
    if (act)
        expect(act->sa_handler);
    if (fn)
        return fn(sig, act, old);
    errno = ENOSYS;
    return -1;
}

HEAP_EXPORT int sigaction(int sig, const struct sigaction *restrict act,
                          struct sigaction *restrict old)
{
    static void *_Atomic found;
    return act_on(&found, "sigaction", sig, act, old);
}

// Not by way of sigaction(): a program may define that one and end here (Erlang's does).
HEAP_EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    static void *_Atomic found;
    return act_on(&found, "__sigaction", sig, act, old);
}

static sighandler_t install(void *_Atomic *found, const char *name, int sig, sighandler_t handler)
{
    typedef sighandler_t signal_fn(int, sighandler_t);
    signal_fn *fn = (signal_fn *)next(found, name);

    expect(handler);
    if (fn)
        return fn(sig, handler);
    errno = ENOSYS;
    return SIG_ERR;
}

#define INSTALLER(name)                                                                            \
    HEAP_EXPORT sighandler_t name(int sig, sighandler_t handler)                                   \
    {                                                                                              \
        static void *_Atomic found;                                                                \
        return install(&found, #name, sig, handler);                                               \
    }

INSTALLER(signal)
INSTALLER(bsd_signal)
INSTALLER(ssignal)
INSTALLER(sysv_signal)
INSTALLER(__sysv_signal)
INSTALLER(sigset)
