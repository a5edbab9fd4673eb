#include "pool/region/window.h"

#include <errno.h>
#include <sys/mman.h>

#include "pool/common/pages.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

// Kernels before 4.17 take the address for a wish, and map elsewhere where it is not free.
static bool window_map(uintptr_t at, size_t bytes, int prot)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *got = pages_mmap((void *)at, bytes, prot, flags, -1, 0);

    if (got == MAP_FAILED)
        return false;
    if (got == (void *)at)
        return true;
    pages_munmap(got, bytes);
    errno = EEXIST;
    return false;
}

bool window_grow(struct window *w, size_t upto)
{
    uintptr_t at = w->begin + w->bytes;
    size_t wanted = (upto + 4095) & ~(size_t)4095;

    if (wanted <= w->bytes)
        return true;
    if (!window_map(at, wanted - w->bytes, w->no_access ? PROT_NONE : PROT_READ | PROT_WRITE))
        return false;
    if (w->advice != MADV_NORMAL)
        pages_madvise((void *)at, wanted - w->bytes, w->advice);
    if (w->merge)
        pages_madvise((void *)at, wanted - w->bytes, MADV_MERGEABLE);
    w->bytes = wanted;
    return true;
}

void window_close(struct window *w)
{
    if (w->bytes)
        pages_munmap((void *)w->begin, w->bytes);
    w->bytes = 0;
}

uintptr_t window_place(size_t bytes)
{
    const uintptr_t align = (uintptr_t)2 << 20;
    void *at = pages_mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return 0;
    pages_munmap(at, 4096);
    uintptr_t now = (uintptr_t)at & -align;
    bytes = (bytes + align - 1) & -align;
    return now / 8 * 7 < bytes ? now + bytes : now - bytes;
}
