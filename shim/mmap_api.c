// mmap_api - the mapping calls of libc, so that the process's mapped files are known.
//
// libc and ld.so map for themselves without these names, and jemalloc's calls are renamed in the
// build: what passes here is the program's and its libraries'.
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mfile/calls.h"
#include "shim/heap.h"

HEAP_EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return calls_mmap(addr, length, prot, flags, fd, offset);
}

HEAP_EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off64_t offset)
{
    return calls_mmap(addr, length, prot, flags, fd, offset);
}

HEAP_EXPORT int munmap(void *addr, size_t length)
{
    return calls_munmap(addr, length);
}

// As in glibc up to 2.38 the new address is read where MREMAP_FIXED says that there is one: without
// it, callers leave it out, and what lies in its place is no hint.
HEAP_EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    void *to = NULL;

    if (flags & MREMAP_FIXED) {
        va_list args;
        va_start(args, flags);
        to = va_arg(args, void *);
        va_end(args);
    }
    return calls_mremap(old, old_length, length, flags, to);
}

HEAP_EXPORT int madvise(void *addr, size_t length, int advice)
{
    return calls_madvise(addr, length, advice);
}

// POSIX: the error is returned, errno is left alone. DONTNEED is not allowed to lose data here, and
// Linux's would: glibc takes it for nothing, and so do we.
HEAP_EXPORT int posix_madvise(void *addr, size_t length, int advice)
{
    int saved = errno, error = 0;

    if (advice == POSIX_MADV_DONTNEED)
        return 0;
    if (calls_madvise(addr, length, advice) != 0)
        error = errno;
    errno = saved;
    return error;
}
