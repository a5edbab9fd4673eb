// clone - libc's functions that make a child without fork handlers: see raw_fork.h.
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "shim/heap.h"
#include "shim/own_thread/raw_fork.h"

typedef int clone_fn(int (*)(void *), void *stack, int flags, void *arg, ...);

pid_t _Fork(void);

static clone_fn *next_clone;
static pid_t (*next_fork)(void);

static void find(void *function, const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    __builtin_memcpy(function, &symbol, sizeof symbol);
}

// They are called where dlsym() must not be.
__attribute__((constructor)) static void find_next(void)
{
    find(&next_clone, "clone");
    find(&next_fork, "_Fork");
}

struct start {
    int (*run)(void *);
    void *arg;
};

// In the child, which has its parent's stack in memory, too.
static int begin_child(void *arg)
{
    struct start s = *(struct start *)arg;

    raw_fork_child();
    return s.run(s.arg);
}

HEAP_EXPORT int clone(int (*run)(void *), void *stack, int flags, void *arg, ...)
{
    struct start s = {run, arg};
    pid_t *parent_id, *child_id;
    void *tls;
    va_list args;

    if (unlikely(!next_clone))
        find(&next_clone, "clone");
    va_start(args, arg);
    parent_id = va_arg(args, pid_t *);
    tls = va_arg(args, void *);
    child_id = va_arg(args, pid_t *);
    va_end(args);
    if (!raw_fork_is_made((unsigned)flags) || !run)
        return next_clone(run, stack, flags, arg, parent_id, tls, child_id);
    bool held = raw_fork_begin();
    int pid = next_clone(begin_child, stack, flags, &s, parent_id, tls, child_id);
    raw_fork_parent(held);
    return pid;
}

HEAP_EXPORT pid_t _Fork(void)
{
    if (unlikely(!next_fork))
        find(&next_fork, "_Fork");
    // Older than 2.34, a libc has no such function.
    if (unlikely(!next_fork)) {
        errno = ENOSYS;
        return -1;
    }
    bool held = raw_fork_begin();
    pid_t pid = next_fork();
    if (pid == 0)
        raw_fork_child();
    else
        raw_fork_parent(held);
    return pid;
}
