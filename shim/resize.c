#include "shim/resize.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/je.h"
#include "pool/pages.h"
#include "pool/pool.h"
#include "shim/watchdog.h"

// Below it two blocks are no matter; and pages that go back come again for the next one.
#define TIGHT_MIN_BYTES ((size_t)4 << 20)
#define PART_BYTES ((size_t)1 << 20)

bool resize_is_tight(size_t have, size_t size)
{
    return have >= TIGHT_MIN_BYTES && size > have && size > pressure_room() / 2 && !pool_entered();
}

// jemalloc goes on believing in the pages; what it gives back once more costs nothing.
void resize_copy(void *new, void *old, size_t bytes)
{
    char *to = new, *from = old;
    int saved = errno;

    for (size_t at = 0; at < bytes; at += PART_BYTES) {
        size_t part = bytes - at < PART_BYTES ? bytes - at : PART_BYTES;
        uintptr_t start = ((uintptr_t)from + at + 4095) & ~(uintptr_t)4095;
        uintptr_t end = ((uintptr_t)from + at + part) & ~(uintptr_t)4095;

        memcpy(to + at, from + at, part);
        if (start < end)
            pages_madvise((void *)start, end - start, MADV_DONTNEED);
    }
    errno = saved;
}

void *resize_tight(void *ptr, size_t have, size_t size)
{
    void *to;

    if (!watchdog_before(size - have))
        return NULL;
    if (je_xallocx(ptr, size, 0, 0) >= size)
        return ptr;
    to = je_malloc(size);
    if (!to)
        return NULL;
    resize_copy(to, ptr, have);
    je_free(ptr);
    return to;
}
