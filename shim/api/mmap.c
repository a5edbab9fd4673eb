// mmap - the mapping calls of libc, so that the process's mapped files are known.
//
// libc and ld.so map for themselves without these names. What passes here is the program's and its
// libraries', or our heap's own (next_is_own), which only passes.
#include <stdarg.h>
#include <sys/mman.h>

#include "mfile/calls.h"
#include "pool/common/marks.h"
#include "pool/pool.h"
#include "pool/region/program_marks.h"
#include "pressure/direct_reclaim.h"
#include "shim/heap.h"
#include "shim/next.h"

// MADV_POPULATE_WRITE, Linux 5.14, which older headers lack.
#define POPULATE_WRITE 23

// The kernel takes all pages of these in one call, and no watchdog comes in between. A hook of our
// own calls may hold jemalloc's locks.
static void ask_for(size_t length)
{
    if (!pool_entered() && !next_is_inside())
        pressure_ask(length);
}

static bool takes_all_pages(int prot, int flags)
{
    return (flags & MAP_ANONYMOUS) && (flags & (MAP_POPULATE | MAP_LOCKED)) && (prot & PROT_WRITE);
}

static void *map_by(calls_mmap_fn *map, void *addr, size_t length, int prot, int flags, int fd,
                    off_t offset)
{
    if (unlikely(next_is_own()))
        return map(addr, length, prot, flags, fd, offset);
    if (unlikely(takes_all_pages(prot, flags)))
        ask_for(length);
    void *at = calls_mmap_by(map, addr, length, prot, flags, fd, offset);
    if (at != MAP_FAILED && (flags & MAP_FIXED))
        marks_add(at, length, MARKS_OTHER);
    return at;
}

HEAP_EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return map_by(next_call.mmap, addr, length, prot, flags, fd, offset);
}

HEAP_EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off64_t offset)
{
    return map_by(next_call.mmap64, addr, length, prot, flags, fd, offset);
}

HEAP_EXPORT int munmap(void *addr, size_t length)
{
    if (unlikely(next_is_own()))
        return next_call.munmap(addr, length);
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
    if (unlikely(next_is_own()))
        return next_call.mremap(old, old_length, length, flags, to);
    return calls_mremap(old, old_length, length, flags, to);
}

HEAP_EXPORT int madvise(void *addr, size_t length, int advice)
{
    if (unlikely(next_is_own()))
        return next_call.madvise(addr, length, advice);
    if (unlikely(advice == POPULATE_WRITE))
        ask_for(length);
    int result = calls_madvise(addr, length, advice);
    marks_on_madvise(addr, length, advice, result == 0);
    return result;
}

// POSIX: the error is returned, errno is left alone. libc takes DONTNEED, which must not lose data,
// for nothing.
HEAP_EXPORT int posix_madvise(void *addr, size_t length, int advice)
{
    int error = next_call.posix_madvise(addr, length, advice);

    if (!error && advice != POSIX_MADV_DONTNEED)
        calls_note_advice(addr, length, advice);
    if (advice != POSIX_MADV_DONTNEED)
        marks_on_madvise(addr, length, advice, error == 0);
    return error;
}
