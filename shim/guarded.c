#include "shim/guarded.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "pool/common/je.h"
#include "pool/jemalloc_private/large_cache.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/jemalloc_private/tcache.h"
#include "pool/region/region.h"
#include "pool/region/signal_block.h"
#include "shim/base.h"
#include "shim/heap.h"

static _Atomic bool wanted;

void guarded_from_now_on(void)
{
    atomic_store(&wanted, true);
    guarded_catch_up();
}

// What sampling has put there guards itself; and another allocator in front is none of ours.
void guarded_catch_up(void)
{
    if (!atomic_load(&wanted))
        return;
    if (heap_free_other == je_free)
        heap_free_other = guarded_free;
    if (heap_small == je_malloc)
        heap_small = guarded_malloc;
    if (heap_small_zeroed == je_calloc)
        heap_small_zeroed = guarded_calloc;
    if (heap_resized == je_realloc)
        heap_resized = guarded_realloc;
}

// A request that jemalloc cannot be asked for. Only guarded frees know its block.
static __attribute__((noinline)) void *serve_inside(size_t alignment, size_t size)
{
    void *ptr;

    guarded_from_now_on();
    ptr = signal_block_new(size, alignment);
    if (!ptr)
        errno = ENOMEM;
    return ptr;
}

// A handler may have interrupted a request that was made frozen, and must not be refused. What is
// made frozen is made by the two plain functions.
static void pass_unfrozen(void)
{
    pages_freeze(0);
    region_pass();
}

void guarded_attach(void)
{
    if (region_entered())
        return;
    region_enter();
    je_free(je_malloc(1));
    region_leave();
}

void guarded_attach_tcache(void)
{
    if (region_entered())
        return;
    region_enter();
    tcache_make_self();
    region_leave();
}

void *guarded_malloc(size_t size)
{
    if (region_entered())
        return serve_inside(1, size);
    region_pass();
    return region_leave_with(je_malloc(size));
}

void *guarded_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (region_entered()) {
        if (!__builtin_mul_overflow(count, size, &bytes))
            return serve_inside(1, bytes);
        errno = ENOMEM;
        return NULL;
    }
    region_pass();
    return region_leave_with(je_calloc(count, size));
}

void *guarded_large(size_t size, bool zero)
{
    void *ptr;

    if (region_entered())
        return serve_inside(LARGE_CACHE_ALIGNMENT, size);
    region_pass();
    ptr =
        je_mallocx(size, JE_ALIGN_LG(__builtin_ctz(LARGE_CACHE_ALIGNMENT)) | (zero ? JE_ZERO : 0));
    if (unlikely(!ptr))
        errno = ENOMEM;
    return region_leave_with(ptr);
}

void *guarded_memalign(size_t alignment, size_t size)
{
    if (region_entered())
        return serve_inside(alignment, size);
    pass_unfrozen();
    return region_leave_with(je_memalign(alignment, size));
}

void *guarded_mallocx(size_t size, int flags)
{
    if (region_entered())
        return serve_inside(je_alignment(flags), size);
    pass_unfrozen();
    return region_leave_with(je_mallocx(size, flags));
}

static __attribute__((noinline)) void free_inside(void *ptr)
{
    if (ptr)
        region_defer(ptr);
}

static void free_jemalloc(void *ptr)
{
    if (region_entered()) {
        free_inside(ptr);
        return;
    }
    region_pass();
    je_free(ptr);
    region_leave();
}

static __attribute__((noinline)) void free_either(void *ptr)
{
    if (!signal_block_delete(ptr))
        free_jemalloc(ptr);
}

void guarded_free(void *ptr)
{
    if (unlikely(signal_block_may_be(ptr)))
        free_either(ptr);
    else
        free_jemalloc(ptr);
}

void guarded_dallocx(void *ptr, int flags)
{
    if (unlikely(region_entered() || signal_block_size(ptr))) {
        guarded_free(ptr);
        return;
    }
    region_pass();
    je_dallocx(ptr, flags);
    region_leave();
}

size_t guarded_usable_size(const void *ptr)
{
    size_t bytes = signal_block_size(ptr);

    if (unlikely(bytes || !ptr))
        return bytes;
    return region_je_size(ptr);
}

// Is this for jemalloc, and can it be asked?
static bool is_for_jemalloc(const void *ptr)
{
    return likely(!region_entered() && !signal_block_size(ptr));
}

static __attribute__((noinline)) void *move(void *ptr, size_t size, int flags)
{
    size_t have = guarded_usable_size(ptr);
    void *to;

    if (size <= have && size > have / 2 && ((uintptr_t)ptr & (je_alignment(flags) - 1)) == 0)
        return ptr;
    to = guarded_mallocx(size, flags);
    if (!to)
        return NULL;
    memcpy(to, ptr, have < size ? have : size);
    guarded_free(ptr);
    return to;
}

void *guarded_realloc(void *ptr, size_t size)
{
    if (unlikely(!is_for_jemalloc(ptr)))
        return move(ptr, size, 0);
    pass_unfrozen();
    return region_leave_with(je_realloc(ptr, size));
}

void *guarded_rallocx(void *ptr, size_t size, int flags)
{
    if (unlikely(!is_for_jemalloc(ptr)))
        return move(ptr, size, flags);
    pass_unfrozen();
    return region_leave_with(je_rallocx(ptr, size, flags));
}

size_t guarded_xallocx(void *ptr, size_t size, size_t extra, int flags)
{
    if (unlikely(!is_for_jemalloc(ptr)))
        return guarded_usable_size(ptr);
    region_pass();
    size = je_xallocx(ptr, size, extra, flags);
    region_leave();
    return size;
}

int guarded_mallctl(const char *name, void *old, size_t *old_len, void *new_value, size_t new_len)
{
    int error;

    if (region_entered())
        return EAGAIN;
    region_enter();
    error = je_mallctl(name, old, old_len, new_value, new_len);
    region_leave();
    return error;
}

int guarded_mallctlnametomib(const char *name, size_t *mib, size_t *mib_len)
{
    int error;

    if (region_entered())
        return EAGAIN;
    region_enter();
    error = je_mallctlnametomib(name, mib, mib_len);
    region_leave();
    return error;
}

int guarded_mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len,
                         void *new_value, size_t new_len)
{
    int error;

    if (region_entered())
        return EAGAIN;
    region_enter();
    error = je_mallctlbymib(mib, mib_len, old, old_len, new_value, new_len);
    region_leave();
    return error;
}

struct writer {
    void (*write)(void *, const char *);
    void *arg;
};

// jemalloc holds no lock while it writes.
static void write_outside(void *arg, const char *text)
{
    struct writer *w = arg;
    sig_atomic_t was = region_step_out();

    w->write(w->arg, text);
    region_step_in(was);
}

void guarded_stats_print(void (*write_cb)(void *, const char *), void *arg, const char *opts)
{
    struct writer w = {write_cb, arg};

    if (region_entered())
        return;
    region_pass();
    je_malloc_stats_print(write_cb ? write_outside : NULL, &w, opts);
    region_leave();
}
