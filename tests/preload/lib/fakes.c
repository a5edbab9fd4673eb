// fakes - a library that fakes the time, files and the network. Each call looks up a symbol that is
// nowhere, for which the dynamic linker allocates, so none may come from inside an allocation.

#include "tests/preload/victim.h"

#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

__attribute__((visibility("default"))) unsigned fakes_calls;

static void *next(const char *name)
{
    static __thread bool inside;

    CHECK(!inside, "%s comes from an allocation that another one makes", name);
    inside = true;
    fakes_calls++;
    CHECK(!dlsym(RTLD_NEXT, "fakes_is_nowhere"), "it is");
    void *symbol = dlsym(RTLD_NEXT, name);
    inside = false;
    return symbol;
}

#define FAKE(name, type, params, args)                                                             \
    __attribute__((visibility("default"))) type name params                                        \
    {                                                                                              \
        type(*real) params;                                                                        \
        void *symbol = next(#name);                                                                \
        memcpy(&real, &symbol, sizeof real);                                                       \
        return real args;                                                                          \
    }

FAKE(clock_gettime, int, (clockid_t clock, struct timespec *t), (clock, t))
FAKE(pthread_cond_init, int,
     (pthread_cond_t *restrict cond, const pthread_condattr_t *restrict attr), (cond, attr))
FAKE(readlink, ssize_t, (const char *restrict path, char *restrict to, size_t size),
     (path, to, size))
FAKE(socket, int, (int domain, int type, int protocol), (domain, type, protocol))
FAKE(write, ssize_t, (int fd, const void *from, size_t size), (fd, from, size))

// Under its own name it would differ from what the header declares.
typedef long syscall_fn(long n, long a, long b, long c, long d, long e, long f);
__attribute__((visibility("default"))) syscall_fn fake_syscall __asm__("syscall");
long fake_syscall(long n, long a, long b, long c, long d, long e, long f)
{
    syscall_fn *real;
    void *symbol = next("syscall");

    memcpy(&real, &symbol, sizeof real);
    return real(n, a, b, c, d, e, f);
}
