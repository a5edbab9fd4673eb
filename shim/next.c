#include "shim/next.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static void *raw_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

static int raw_munmap(void *addr, size_t length)
{
    return (int)syscall(SYS_munmap, addr, length);
}

static void *raw_mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    void *to = va_arg(args, void *);
    va_end(args);
    return (void *)syscall(SYS_mremap, old, old_length, length, flags, to);
}

static int raw_madvise(void *addr, size_t length, int advice)
{
    return (int)syscall(SYS_madvise, addr, length, advice);
}

// POSIX: the error is returned, errno is left alone. DONTNEED must not lose data there, and Linux's
// would: libc takes it for nothing.
static int raw_posix_madvise(void *addr, size_t length, int advice)
{
    int saved = errno, error = 0;

    if (advice != POSIX_MADV_DONTNEED && raw_madvise(addr, length, advice) != 0)
        error = errno;
    errno = saved;
    return error;
}

static int raw_prlimit(pid_t pid, int resource, const struct rlimit *to, struct rlimit *was)
{
    return (int)syscall(SYS_prlimit64, pid, resource, to, was);
}

static int raw_setrlimit(int resource, const struct rlimit *to)
{
    return raw_prlimit(0, resource, to, NULL);
}

static int raw_mprotect(void *addr, size_t length, int prot)
{
    return (int)syscall(SYS_mprotect, addr, length, prot);
}

// A key of -1 leaves the one that there is, also where the kernel knows of none.
static int raw_pkey_mprotect(void *addr, size_t length, int prot, int key)
{
    if (key == -1)
        return raw_mprotect(addr, length, prot);
    return (int)syscall(SYS_pkey_mprotect, addr, length, prot, key);
}

static int raw_mlock(const void *addr, size_t length)
{
    return (int)syscall(SYS_mlock, addr, length);
}

static int raw_mlock2(const void *addr, size_t length, unsigned flags)
{
    return (int)(flags ? syscall(SYS_mlock2, addr, length, flags)
                       : syscall(SYS_mlock, addr, length));
}

static int raw_munlock(const void *addr, size_t length)
{
    return (int)syscall(SYS_munlock, addr, length);
}

static int raw_mlockall(int flags)
{
    return (int)syscall(SYS_mlockall, flags);
}

static int raw_munlockall(void)
{
    return (int)syscall(SYS_munlockall);
}

static long raw_mbind(void *addr, unsigned long length, int mode, const unsigned long *nodes,
                      unsigned long most, unsigned flags)
{
    return syscall(SYS_mbind, addr, length, mode, nodes, most, flags);
}

struct next_call next_call = {
    .mmap = raw_mmap,
    .mmap64 = raw_mmap,
    .munmap = raw_munmap,
    .mremap = raw_mremap,
    .madvise = raw_madvise,
    .posix_madvise = raw_posix_madvise,
    .mprotect = raw_mprotect,
    .pkey_mprotect = raw_pkey_mprotect,
    .mlock = raw_mlock,
    .mlock2 = raw_mlock2,
    .munlock = raw_munlock,
    .mlockall = raw_mlockall,
    .munlockall = raw_munlockall,
    .mbind = raw_mbind,
    .setrlimit = raw_setrlimit,
    .setrlimit64 = raw_setrlimit,
    .prlimit = raw_prlimit,
    .prlimit64 = raw_prlimit,
};

#define ROW(name)                                                                                  \
    {                                                                                              \
#name, offsetof(struct next_call, name)                                                    \
    }
static const struct {
    const char *name;
    size_t offset;
} rows[] = {
    ROW(mmap),          ROW(mmap64),        ROW(munmap),      ROW(mremap),  ROW(madvise),
    ROW(posix_madvise), ROW(setrlimit),     ROW(setrlimit64), ROW(prlimit), ROW(prlimit64),
    ROW(mprotect),      ROW(pkey_mprotect), ROW(mlock),       ROW(mlock2),  ROW(munlock),
    ROW(mlockall),      ROW(munlockall),    ROW(mbind),
};
static_assert(array_len(rows) == sizeof(struct next_call) / sizeof(void (*)(void)),
              "every call has a row");

static _Atomic bool found;

// A call of ours in this thread: on its way, or past our own definition and with whatever hooks it.
enum { NOT_OURS, ON_ITS_WAY, PASSED };
static _Thread_local volatile uint8_t own __attribute__((tls_model("initial-exec")));

void next_find(void)
{
    for (size_t i = 0; i < array_len(rows); i++) {
        void *symbol = dlsym(RTLD_NEXT, rows[i].name);
        void **to = (void **)((char *)&next_call + rows[i].offset);
        if (symbol)
            __atomic_store_n(to, symbol, __ATOMIC_RELAXED);
    }
    atomic_store(&found, true);
}

bool next_is_own(void)
{
    if (likely(own != ON_ITS_WAY))
        return false;
    own = PASSED;
    return true;
}

bool next_is_inside(void)
{
    return own != NOT_OURS;
}

// A hook that allocates may need pages for it: of those it does not hear, or it would be asked
// again and again.
static bool by_name(void)
{
    if (own != NOT_OURS || !atomic_load_explicit(&found, memory_order_relaxed))
        return false;
    own = ON_ITS_WAY;
    return true;
}

void *next_own_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    if (!by_name())
        return raw_mmap(addr, length, prot, flags, fd, offset);
    void *at = mmap(addr, length, prot, flags, fd, offset);
    own = NOT_OURS;
    return at;
}

int next_own_munmap(void *addr, size_t length)
{
    if (!by_name())
        return raw_munmap(addr, length);
    int result = munmap(addr, length);
    own = NOT_OURS;
    return result;
}

void *next_own_mremap(void *old, size_t old_length, size_t length, int flags, void *to)
{
    if (!by_name())
        return raw_mremap(old, old_length, length, flags, to);
    void *at = mremap(old, old_length, length, flags, to);
    own = NOT_OURS;
    return at;
}

int next_own_madvise(void *addr, size_t length, int advice)
{
    if (!by_name())
        return raw_madvise(addr, length, advice);
    int result = madvise(addr, length, advice);
    own = NOT_OURS;
    return result;
}
