// kernel - system calls made past libc, for code that runs inside malloc() and in signal handlers.
//
// The contract of all: the result, or -errno; `errno` itself may change. None is a point of
// cancellation, allocates, locks, or is heard by another library that defines libc's name. Calls
// that have no function here are made by syscall(), which the build binds to base/raw.c: -1 and
// errno as libc's. Below all folders.
#ifndef TIDEPOOL_SHIM_KERNEL_H
#define TIDEPOOL_SHIM_KERNEL_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Closed by exec, and never a controlling terminal. `dir`: a descriptor, or AT_FDCWD.
static inline int kernel_open_at(int dir, const char *path, int flags)
{
    long fd = syscall(SYS_openat, dir, path, flags | O_CLOEXEC | O_NOCTTY, 0);

    return fd < 0 ? -errno : (int)fd;
}

static inline int kernel_open(const char *path, int flags)
{
    return kernel_open_at(AT_FDCWD, path, flags);
}

// Goes on where a signal interrupts it.
static inline long kernel_read(int fd, void *to, size_t size)
{
    long n;

    do
        n = syscall(SYS_read, fd, to, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline void kernel_close(int fd)
{
    syscall(SYS_close, fd);
}

// The target of a link as a string, cut to fit; its length.
static inline long kernel_read_link(const char *path, char *to, size_t size)
{
    long n = syscall(SYS_readlinkat, AT_FDCWD, path, to, size - 1);

    if (n < 0)
        return -errno;
    to[n] = '\0';
    return n;
}

// New private pages, all zero, with no commitment where `flags` has MAP_NORESERVE; NULL for none.
static inline void *kernel_map(size_t bytes, int flags)
{
    long at = syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0L);

    return at == -1 ? NULL : (void *)at; // NOLINT(performance-no-int-to-ptr)
}

static inline void kernel_unmap(void *at, size_t bytes)
{
    syscall(SYS_munmap, at, bytes);
}

// Sleeps while the word has that value, until it is woken, a signal comes, or `ns` are over;
// UINT64_MAX: for ever. Callers look at the word again.
static inline void kernel_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns)
{
    const struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ns == UINT64_MAX ? NULL : &t, NULL, 0);
}

static inline void kernel_futex_wake(_Atomic uint32_t *word, int threads)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

#endif
