#include "shim/lowmem/resize.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/common/je.h"
#include "pool/common/pages.h"
#include "pool/pool.h"
#include "pressure/direct_reclaim.h"
#include "shim/jemalloc/guarded.h"
#include "shim/lowmem/promised.h"

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

    pressure_ask(size - have);
    if (guarded_xallocx(ptr, size, 0, 0) >= size)
        return ptr;
    to = guarded_malloc(size);
    if (!to)
        return NULL;
    resize_copy(to, ptr, have);
    guarded_free(ptr);
    return to;
}

// Of a block of that size, what the program asked for at least, and what was touched therefore:
// jemalloc has four sizes to a doubling.
static size_t surely_asked(size_t have)
{
    return have - have / 5;
}

size_t resize_in_place(void *ptr, size_t size, size_t extra, int flags)
{
    size_t have = guarded_usable_size(ptr), sure = surely_asked(have);
    size_t most = size < SIZE_MAX - extra ? size + extra : SIZE_MAX;
    struct promised p = promised_begin(most > sure ? most - sure : 0);

    if (p.refused)
        return have;
    have = guarded_xallocx(ptr, size, extra, flags);
    promised_end(p, ptr, sure, have < most ? have : most);
    return have;
}

// Its pages go back as they are copied, so that what is added and a part are enough.
static void *move_in_parts(void *ptr, size_t have, size_t size)
{
    struct promised p = promised_begin(size - surely_asked(have) + 2 * PART_BYTES);
    void *to = p.refused ? NULL : resize_tight(ptr, have, size);

    promised_end(p, to, have, size);
    return to;
}

static void *move(void *ptr, size_t have, size_t size, int flags)
{
    struct promised p = promised_begin(size);
    void *to = p.refused ? NULL : guarded_mallocx(size, flags);

    if (to) {
        memcpy(to, ptr, have < size ? have : size);
        guarded_dallocx(ptr, flags & ~JE_ZERO);
    }
    promised_end(p, to, have < size ? have : size, size);
    return to;
}

void *resize_promised(void *ptr, size_t size, int flags)
{
    if (!ptr)
        return NULL;
    size_t have = guarded_usable_size(ptr), sure = surely_asked(have);
    struct promised p = promised_begin(size > sure ? size - sure : 0);
    void *to;

    if (p.refused)
        return NULL;
    bool grew = guarded_xallocx(ptr, size, 0, flags) >= size;
    promised_end(p, grew ? ptr : NULL, sure, size);
    if (grew)
        return ptr;
    to = move(ptr, have, size, flags);
    if (!to && size > have && have >= TIGHT_MIN_BYTES && !flags)
        to = move_in_parts(ptr, have, size);
    return to;
}
