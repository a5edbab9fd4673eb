// jemalloc - jemalloc's public functions, for programs that are linked with it.
//
// Such a program takes mallocx() from the first library that has it. Were that libjemalloc.so.2 and
// free() ours, it would mix two heaps. Pooled blocks are known to all of them.
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "pool/common/je.h"
#include "pool/common/sampler.h"
#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "shim/heap.h"
#include "shim/init.h"
#include "shim/lowmem/promised.h"
#include "shim/lowmem/reclaim.h"
#include "shim/lowmem/resize.h"
#include "shim/profile/sampling.h"

void *mallocx(size_t size, int flags);
void *rallocx(void *ptr, size_t size, int flags);
size_t xallocx(void *ptr, size_t size, size_t extra, int flags);
size_t sallocx(const void *ptr, int flags);
void dallocx(void *ptr, int flags);
void sdallocx(void *ptr, size_t size, int flags);
size_t nallocx(size_t size, int flags);
int mallctl(const char *name, void *old, size_t *old_len, void *new_value, size_t new_len);
int mallctlnametomib(const char *name, size_t *mib, size_t *mib_len);
int mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len, void *new_value,
                 size_t new_len);
void malloc_stats_print(void (*write_cb)(void *, const char *), void *arg, const char *opts);

static bool is_zeroed(int flags)
{
    return flags & JE_ZERO;
}

// A call that names an arena or a thread cache, by the bits that are neither MALLOCX_ALIGN's nor
// MALLOCX_ZERO, gets that one, and not a pool.
static bool names_place(int flags)
{
    return (flags & ~(63 | JE_ZERO)) != 0;
}

static void *alloc(size_t size, int flags)
{
    size_t alignment = je_alignment(flags);
    void *ptr;

    if (names_place(flags) || !pool_takes(size) || alignment > 4096)
        return heap_guarded(size, flags);
    ptr = alignment > 1 ? heap_aligned(alignment, size) : heap_alloc(size);
    // To the block's end: a rallocx that grows it later relies on that.
    if (ptr && is_zeroed(flags))
        memset(ptr, 0, heap_usable_size(ptr));
    return ptr;
}

HEAP_EXPORT void *mallocx(size_t size, int flags)
{
    return alloc(size, flags);
}

// A block of jemalloc's own, which may move.
static void *resized(void *ptr, size_t size, int flags)
{
    bool large = size > SIZE_CLASS_MAX_BYTES && !pool_entered();
    void *to;

    if (!large)
        return guarded_rallocx(ptr, size, flags);
    pressure_ask(size);
    to = promise_is_on ? resize_promised(ptr, size, flags) : guarded_rallocx(ptr, size, flags);
    watchdog_thread_poke();
    return to;
}

HEAP_EXPORT void *rallocx(void *ptr, size_t size, int flags)
{
    size_t have;
    void *to;

    if (!pool_owns(ptr))
        return resized(ptr, size, flags);
    have = pool_usable_size(ptr);
    if (unlikely(!have)) {
        heap_refuse(ptr);
        return NULL;
    }
    if (pool_block_bytes(size, false) == have && ((uintptr_t)ptr & (je_alignment(flags) - 1)) == 0)
        return ptr;
    to = alloc(size, flags);
    if (to) {
        memcpy(to, ptr, have < size ? have : size);
        heap_free(ptr);
    }
    return to;
}

// Blocks of the pools do not change their size in place.
HEAP_EXPORT size_t xallocx(void *ptr, size_t size, size_t extra, int flags)
{
    size_t have;

    if (pool_owns(ptr)) {
        have = pool_usable_size(ptr);
        if (unlikely(!have))
            heap_refuse(ptr);
        return have;
    }
    if (size <= SIZE_CLASS_MAX_BYTES || pool_entered())
        return guarded_xallocx(ptr, size, extra, flags);
    pressure_ask(size);
    have = resize_in_place(ptr, size, extra, flags);
    watchdog_thread_poke();
    return have;
}

HEAP_EXPORT size_t sallocx(const void *ptr, int flags)
{
    (void)flags;
    return heap_usable_size(ptr);
}

HEAP_EXPORT void dallocx(void *ptr, int flags)
{
    if (pool_owns(ptr))
        heap_free(ptr);
    else
        guarded_dallocx(ptr, flags);
}

HEAP_EXPORT void sdallocx(void *ptr, size_t size, int flags)
{
    (void)size;
    if (pool_owns(ptr))
        heap_free(ptr);
    else
        guarded_dallocx(ptr, flags);
}

HEAP_EXPORT size_t nallocx(size_t size, int flags)
{
    size_t alignment = je_alignment(flags), bytes = 0;

    if (!names_place(flags) && alignment <= 4096 && size >= SIZE_CLASS_MIN_BYTES && boot_pools())
        bytes = pool_block_bytes((size + alignment - 1) & -alignment, alignment > 64);
    return bytes ? bytes : je_nallocx(size, flags);
}

// "arena.<i>.purge" asks for memory to go back to the kernel: what the pools keep goes, too.
static bool is_purge(const char *name)
{
    const char *dot;

    if (strncmp(name, "arena.", 6) != 0)
        return false;
    dot = strchr(name + 6, '.');
    return dot && strcmp(dot, ".purge") == 0;
}

HEAP_EXPORT int mallctl(const char *name, void *old, size_t *old_len, void *new_value,
                        size_t new_len)
{
    if (is_purge(name))
        reclaim(0);
    guarded_attach_tcache();
    return guarded_mallctl(name, old, old_len, new_value, new_len);
}

HEAP_EXPORT int mallctlnametomib(const char *name, size_t *mib, size_t *mib_len)
{
    return guarded_mallctlnametomib(name, mib, mib_len);
}

static bool is_purge_mib(const size_t *mib, size_t mib_len)
{
    size_t purge[3], len = array_len(purge);

    return mib_len == 3 && guarded_mallctlnametomib("arena.0.purge", purge, &len) == 0 &&
           mib[0] == purge[0] && mib[2] == purge[2];
}

HEAP_EXPORT int mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len,
                             void *new_value, size_t new_len)
{
    if (is_purge_mib(mib, mib_len))
        reclaim(0);
    guarded_attach_tcache();
    return guarded_mallctlbymib(mib, mib_len, old, old_len, new_value, new_len);
}

HEAP_EXPORT void malloc_stats_print(void (*write_cb)(void *, const char *), void *arg,
                                    const char *opts)
{
    guarded_stats_print(write_cb, arg, opts);
}
