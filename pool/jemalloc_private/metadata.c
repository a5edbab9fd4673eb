// metadata - memory for jemalloc's own structures, where its blocks for them are too large.
//
// jemalloc takes them from blocks of 2 MiB first, and of more later. Two of its functions are
// wrapped (ld --wrap). The leaves of its map of extents, 2 MiB for each GiB of addresses, get
// mappings of their own. And where no further block can be had, under RLIMIT_DATA for one, there
// are pieces of 64 KiB: else a request fails for want of 128 bytes, with memory left. Nothing of
// this is ever given back. Any thread, with jemalloc's locks held; lock-free, so that a fork does
// no harm.
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "pool/common/pages.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/layouts.h"

void *__real_je_base_alloc(struct tsdn *, struct base *, size_t size, size_t alignment);
void *__wrap_je_base_alloc(struct tsdn *, struct base *, size_t size, size_t alignment);
struct edata *__real_je_base_alloc_edata(struct tsdn *, struct base *);
struct edata *__wrap_je_base_alloc_edata(struct tsdn *, struct base *);

void *__wrap_je_pages_map(void *addr, size_t size, size_t alignment, bool *commit);

#define LEAF_BYTES ((size_t)2 << 20)
#define PIECE_BYTES ((size_t)64 << 10)

static void *map(size_t size)
{
    bool commit = true;

    return __wrap_je_pages_map(NULL, (size + 4095) & ~(size_t)4095, PIECE_BYTES, &commit);
}

// The first free byte of the last piece, which begins at a multiple of its size; at its end, none.
static _Atomic uintptr_t next;

static void *take(size_t size, size_t alignment)
{
    uintptr_t was = atomic_load(&next), at, piece = 0;

    if (size > PIECE_BYTES / 4 || alignment > PIECE_BYTES)
        return NULL;
    do {
        at = (was + alignment - 1) & -alignment;
        if ((was - 1) / PIECE_BYTES != (at + size - 1) / PIECE_BYTES || !was) {
            if (!piece && !(piece = (uintptr_t)map(PIECE_BYTES)))
                return NULL;
            at = piece;
        }
    } while (!atomic_compare_exchange_weak(&next, &was, at + size));
    if (piece && at != piece)
        pages_munmap((void *)piece, PIECE_BYTES);
    return (void *)at;
}

void *__wrap_je_base_alloc(struct tsdn *tsdn, struct base *base, size_t size, size_t alignment)
{
    if (unlikely(size >= LEAF_BYTES) && je_private_is_on())
        return map(size);
    void *at = __real_je_base_alloc(tsdn, base, size, alignment);
    return likely(at) || !je_private_is_on() ? at : take(size, alignment);
}

struct edata *__wrap_je_base_alloc_edata(struct tsdn *tsdn, struct base *base)
{
    struct edata *at = __real_je_base_alloc_edata(tsdn, base);

    return likely(at) || !je_private_is_on() ? at : take(EDATA_BYTES, EDATA_BYTES);
}
