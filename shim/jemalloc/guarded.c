#include "shim/jemalloc/guarded.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/jemalloc_private/large_cache.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/jemalloc_private/tcache.h"
#include "pool/region/region.h"
#include "pool/region/signal_block.h"
#include "shim/base.h"

_Atomic bool guarded_wanted;
void (*_Atomic guarded_on_wanted)(void);

void guarded_from_now_on(void)
{
    atomic_store(&guarded_wanted, true);
    void (*tell)(void) = atomic_load(&guarded_on_wanted);
    if (tell)
        tell();
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
    guard_pass();
}

void guarded_attach(void)
{
    if (guard_entered())
        return;
    guard_enter();
    je_free(je_malloc(1));
    guard_leave();
}

void guarded_attach_tcache(void)
{
    if (guard_entered())
        return;
    guard_enter();
    tcache_make_self();
    guard_leave();
}

void *guarded_malloc(size_t size)
{
    if (guard_entered())
        return serve_inside(1, size);
    guard_pass();
    return guard_leave_with(je_malloc(size));
}

void *guarded_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (guard_entered()) {
        if (!__builtin_mul_overflow(count, size, &bytes))
            return serve_inside(1, bytes);
        errno = ENOMEM;
        return NULL;
    }
    guard_pass();
    return guard_leave_with(je_calloc(count, size));
}

void *guarded_large(size_t size, bool zero)
{
    void *ptr;

    if (guard_entered())
        return serve_inside(LARGE_CACHE_ALIGNMENT, size);
    guard_pass();
    ptr =
        je_mallocx(size, JE_ALIGN_LG(__builtin_ctz(LARGE_CACHE_ALIGNMENT)) | (zero ? JE_ZERO : 0));
    if (unlikely(!ptr))
        errno = ENOMEM;
    return guard_leave_with(ptr);
}

void *guarded_mallocx(size_t size, int flags)
{
    if (guard_entered())
        return serve_inside(je_alignment(flags), size);
    pass_unfrozen();
    return guard_leave_with(je_mallocx(size, flags));
}

static __attribute__((noinline)) void free_inside(void *ptr)
{
    if (ptr)
        guard_defer(ptr);
}

static void free_jemalloc(void *ptr)
{
    if (guard_entered()) {
        free_inside(ptr);
        return;
    }
    guard_pass();
    je_free(ptr);
    guard_leave();
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
    if (unlikely(guard_entered() || signal_block_size(ptr))) {
        guarded_free(ptr);
        return;
    }
    guard_pass();
    je_dallocx(ptr, flags);
    guard_leave();
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
    return likely(!guard_entered() && !signal_block_size(ptr));
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
    return guard_leave_with(je_realloc(ptr, size));
}

void *guarded_rallocx(void *ptr, size_t size, int flags)
{
    if (unlikely(!is_for_jemalloc(ptr)))
        return move(ptr, size, flags);
    pass_unfrozen();
    return guard_leave_with(je_rallocx(ptr, size, flags));
}

size_t guarded_xallocx(void *ptr, size_t size, size_t extra, int flags)
{
    if (unlikely(!is_for_jemalloc(ptr)))
        return guarded_usable_size(ptr);
    guard_pass();
    size = je_xallocx(ptr, size, extra, flags);
    guard_leave();
    return size;
}

int guarded_mallctl(const char *name, void *old, size_t *old_len, void *new_value, size_t new_len)
{
    int error;

    if (guard_entered())
        return EAGAIN;
    guard_enter();
    error = je_mallctl(name, old, old_len, new_value, new_len);
    guard_leave();
    return error;
}

int guarded_mallctlnametomib(const char *name, size_t *mib, size_t *mib_len)
{
    int error;

    if (guard_entered())
        return EAGAIN;
    guard_enter();
    error = je_mallctlnametomib(name, mib, mib_len);
    guard_leave();
    return error;
}

int guarded_mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len,
                         void *new_value, size_t new_len)
{
    int error;

    if (guard_entered())
        return EAGAIN;
    guard_enter();
    error = je_mallctlbymib(mib, mib_len, old, old_len, new_value, new_len);
    guard_leave();
    return error;
}

void guarded_set_arenas(const char *name, void *value, size_t length)
{
    unsigned arenas = 0;
    size_t mib[3], mib_len = array_len(mib), len = sizeof arenas;

    if (guarded_mallctl("arenas.narenas", &arenas, &len, NULL, 0) ||
        guarded_mallctlnametomib(name, mib, &mib_len))
        return;
    for (mib[1] = 0; mib[1] < arenas; mib[1]++)
        guarded_mallctlbymib(mib, mib_len, NULL, NULL, value, length);
}

struct writer {
    void (*write)(void *, const char *);
    void *arg;
};

// jemalloc holds no lock while it writes.
static void write_outside(void *arg, const char *text)
{
    struct writer *w = arg;
    sig_atomic_t was = guard_step_out();

    w->write(w->arg, text);
    guard_step_in(was);
}

void guarded_stats_print(void (*write_cb)(void *, const char *), void *arg, const char *opts)
{
    struct writer w = {write_cb, arg};

    if (guard_entered())
        return;
    guard_pass();
    je_malloc_stats_print(write_cb ? write_outside : NULL, &w, opts);
    guard_leave();
}
