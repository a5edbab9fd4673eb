// hooks - hears of every mapping call, as tracers and registration caches (RDMA) do, and goes on to
// the next definition. It allocates while it does so.

#include "tests/preload/lib/hooks.h"
#include "tests/preload/victim.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>

// What the program asks of this library.
__attribute__((visibility("default"))) struct hooks_heard hooks_heard;

#define NEXT(name, type, params)                                                                   \
    static type(*next) params;                                                                     \
    if (!next) {                                                                                   \
        void *symbol = dlsym(RTLD_NEXT, #name);                                                    \
        memcpy(&next, &symbol, sizeof next);                                                       \
    }                                                                                              \
    hooks_heard.name++;                                                                            \
    note()

static void note(void)
{
    if (hooks_heard.allocate)
        free(malloc(hooks_heard.allocate));
}

static void goes(void *addr, size_t length)
{
    char *at = addr, *watched = hooks_heard.watched;

    if (at <= watched && watched < at + length)
        hooks_heard.gone++;
}

__attribute__((visibility("default"))) void *mmap(void *addr, size_t length, int prot, int flags,
                                                  int fd, off_t offset)
{
    NEXT(mmap, void *, (void *, size_t, int, int, int, off_t));
    return next(addr, length, prot, flags, fd, offset);
}

__attribute__((visibility("default"))) void *mmap64(void *addr, size_t length, int prot, int flags,
                                                    int fd, off64_t offset)
{
    NEXT(mmap64, void *, (void *, size_t, int, int, int, off64_t));
    return next(addr, length, prot, flags, fd, offset);
}

__attribute__((visibility("default"))) int munmap(void *addr, size_t length)
{
    NEXT(munmap, int, (void *, size_t));
    goes(addr, length);
    return next(addr, length);
}

__attribute__((visibility("default"))) void *mremap(void *old, size_t old_length, size_t length,
                                                    int flags, ...)
{
    NEXT(mremap, void *, (void *, size_t, size_t, int, ...));
    va_list args;
    va_start(args, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(args, void *) : NULL;
    va_end(args);
    goes(old, old_length);
    return next(old, old_length, length, flags, to);
}

__attribute__((visibility("default"))) int madvise(void *addr, size_t length, int advice)
{
    NEXT(madvise, int, (void *, size_t, int));
    if (advice == MADV_DONTNEED || advice == MADV_FREE)
        goes(addr, length);
    return next(addr, length, advice);
}

__attribute__((visibility("default"))) int posix_madvise(void *addr, size_t length, int advice)
{
    NEXT(posix_madvise, int, (void *, size_t, int));
    return next(addr, length, advice);
}

__attribute__((visibility("default"))) int setrlimit(__rlimit_resource_t resource,
                                                     const struct rlimit *limit)
{
    NEXT(setrlimit, int, (__rlimit_resource_t, const struct rlimit *));
    return next(resource, limit);
}

__attribute__((visibility("default"))) int prlimit(pid_t pid, __rlimit_resource_t resource,
                                                   const struct rlimit *to, struct rlimit *was)
{
    NEXT(prlimit, int, (pid_t, __rlimit_resource_t, const struct rlimit *, struct rlimit *));
    return next(pid, resource, to, was);
}
