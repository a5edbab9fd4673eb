// page_marks - libc's calls that mark pages, so that a mark ends with the block that it was made
// for. See pool/common/marks.h. madvise() and mmap() are in mmap.c.
//
// The heap makes these calls raw: what passes here is the program's and its libraries'.
#include <errno.h>
#include <sys/mman.h>

#include "pool/common/marks.h"
#include "pool/region/program_marks.h"
#include "pool/region/remap.h"
#include "shim/heap.h"
#include "shim/next.h"

long mbind(void *addr, unsigned long length, int mode, const unsigned long *nodes,
           unsigned long most, unsigned flags);

HEAP_EXPORT int mprotect(void *addr, size_t length, int prot)
{
    int result = next_call.mprotect(addr, length, prot);

    marks_on_protect(addr, length, prot, -1, result == 0);
    return result;
}

HEAP_EXPORT int pkey_mprotect(void *addr, size_t length, int prot, int key)
{
    int result = next_call.pkey_mprotect(addr, length, prot, key);

    marks_on_protect(addr, length, prot, key, result == 0);
    return result;
}

HEAP_EXPORT int mlock(const void *addr, size_t length)
{
    int result = next_call.mlock(addr, length);

    marks_on_lock(addr, length, true, result == 0);
    remap_locks_changed();
    return result;
}

HEAP_EXPORT int mlock2(const void *addr, size_t length, unsigned flags)
{
    int result = next_call.mlock2(addr, length, flags);

    marks_on_lock(addr, length, true, result == 0);
    remap_locks_changed();
    return result;
}

HEAP_EXPORT int munlock(const void *addr, size_t length)
{
    int result = next_call.munlock(addr, length);

    marks_on_lock(addr, length, false, result == 0);
    remap_locks_changed();
    return result;
}

HEAP_EXPORT int mlockall(int flags)
{
    int result = next_call.mlockall(flags);

    if (result == 0)
        marks_on_lock_all(true);
    remap_locks_changed();
    return result;
}

HEAP_EXPORT int munlockall(void)
{
    int result = next_call.munlockall();

    if (result == 0)
        marks_on_lock_all(false);
    remap_locks_changed();
    return result;
}

// libnuma's, by which numa_tonode_memory() and the like set a policy.
HEAP_EXPORT long mbind(void *addr, unsigned long length, int mode, const unsigned long *nodes,
                       unsigned long most, unsigned flags)
{
    long result = next_call.mbind(addr, length, mode, nodes, most, flags);

    marks_add(addr, length, MARKS_OTHER);
    return result;
}
