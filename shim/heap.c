#include "shim/heap.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "shim/boot.h"
#include "shim/misuse.h"

_Atomic uint64_t heap_double_frees, heap_invalid_frees;

// What the pools do not serve: too large, a bucket that is off, no region.
static void *from_jemalloc(size_t size, bool zero)
{
    return zero ? je_calloc(1, size) : je_malloc(size);
}

static void *alloc_slow(size_t size, bool zero)
{
    void *ptr = NULL;

    if (boot_pools())
        ptr = pool_get_slow(size, zero);
    return ptr ? ptr : from_jemalloc(size, zero);
}

void *heap_alloc_slow(size_t size)
{
    return alloc_slow(size, false);
}

static void refuse_free(const void *ptr, enum pool_misuse misuse)
{
    bool twice = misuse == POOL_DOUBLE_FREE;

    atomic_fetch_add_explicit(twice ? &heap_double_frees : &heap_invalid_frees, 1,
                              memory_order_relaxed);
    misuse_report(twice ? "double free" : "invalid free", ptr);
}

void heap_free_slow(void *ptr)
{
    enum pool_misuse misuse = pool_put_slow(ptr);

    if (misuse != POOL_FINE)
        refuse_free(ptr, misuse);
}

void *heap_calloc(size_t count, size_t size)
{
    size_t bytes;
    void *ptr;

    if (unlikely(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    if (likely(!pool_takes(bytes)))
        return bytes < SIZE_CLASS_MIN_BYTES ? je_calloc(1, bytes) : alloc_slow(bytes, true);
    ptr = pool_get(bytes);
    if (likely(ptr))
        return memset(ptr, 0, bytes);
    return alloc_slow(bytes, true);
}

// Would a block of `have` bytes be a waste for `size`? Half of it is tolerated, because a buffer
// that shrank tends to grow again, and moving it costs a copy each way.
static bool fits_in_place(size_t size, size_t have)
{
    return size <= have && size > have / 2;
}

static void *move(void *ptr, size_t have, size_t size)
{
    void *to = heap_alloc(size);

    if (!to)
        return NULL;
    memcpy(to, ptr, have < size ? have : size);
    heap_free(ptr);
    return to;
}

void *heap_realloc(void *ptr, size_t size)
{
    size_t have;

    if (!ptr)
        return heap_alloc(size);
    if (!size) {
        heap_free(ptr);
        return NULL;
    }
    if (pool_owns(ptr)) {
        have = pool_usable_size(ptr);
        if (unlikely(!have)) {
            refuse_free(ptr, POOL_INVALID_FREE);
            errno = ENOMEM;
            return NULL;
        }
        return fits_in_place(size, have) ? ptr : move(ptr, have, size);
    }
    if (!pool_takes(size))
        return je_realloc(ptr, size);
    // Into the pools, unless it is a block of a pooled size that jemalloc had to serve.
    have = je_malloc_usable_size(ptr);
    return fits_in_place(size, have) ? ptr : move(ptr, have, size);
}

void *heap_aligned(size_t alignment, size_t size)
{
    size_t rounded = (size + alignment - 1) & -alignment;

    // A multiple of the alignment has a class that is one, too, up to a page.
    if (alignment <= 4096 && rounded >= size && pool_takes(rounded) &&
        size >= SIZE_CLASS_MIN_BYTES) {
        void *ptr = heap_alloc(rounded);
        // jemalloc serves a pooled size where the pools cannot, and need not align it like them.
        if (!ptr || ((uintptr_t)ptr & (alignment - 1)) == 0)
            return ptr;
        heap_free(ptr);
    }
    return je_memalign(alignment, size);
}

size_t heap_usable_size(const void *ptr)
{
    if (pool_owns(ptr))
        return pool_usable_size(ptr);
    return je_malloc_usable_size((void *)(uintptr_t)ptr);
}

bool heap_trim(void)
{
    bool any = pool_trim(0) > 0;
    size_t dirty_before = 0, len = sizeof dirty_before;

    je_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    je_mallctl("stats.arenas.4096.pdirty", &dirty_before, &len, NULL, 0);
    je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    return any || dirty_before > 0;
}
