#include "pool/common/pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/next.h"

bool pages_merge;

#define MERGE_MIN_BYTES ((size_t)1 << 20)

static _Alignas(4096) char spare_page[4096];
static bool lent;

void pages_lend_one(bool lend)
{
    lent = lend;
}

void *pages_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    void *at = next_own_mmap(addr, length, prot, flags, fd, offset);

    if (unlikely(at == MAP_FAILED))
        return lent && length <= sizeof spare_page ? spare_page : MAP_FAILED;
    // What is only reserved is marked when it is used.
    if (unlikely(pages_merge) && length >= MERGE_MIN_BYTES && prot != PROT_NONE) {
        int saved = errno;
        pages_madvise(at, length, MADV_MERGEABLE);
        errno = saved;
    }
    return at;
}

int pages_munmap(void *addr, size_t length)
{
    return addr == spare_page ? 0 : next_own_munmap(addr, length);
}

int pages_mprotect(void *addr, size_t length, int prot)
{
    return (int)syscall(SYS_mprotect, addr, length, prot);
}

// What a program has locked (mlockall) is given back only where that is said (Linux 5.18).
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

int pages_madvise(void *addr, size_t length, int advice)
{
    int saved = errno;
    int result = next_own_madvise(addr, length, advice);

    if (result != 0 && errno == EINVAL && advice == MADV_DONTNEED) {
        errno = saved;
        result = next_own_madvise(addr, length, MADV_DONTNEED_LOCKED);
    }
    return result;
}
