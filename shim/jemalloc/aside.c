#include "shim/jemalloc/aside.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "shim/jemalloc/guarded.h"

enum state { UNKNOWN, ASKING, NO, YES };
static _Atomic int state;

// Bytes that jemalloc has ever given this thread.
static uint64_t served(void)
{
    uint64_t bytes = 0;
    size_t len = sizeof bytes;

    guarded_mallctl("thread.allocated", &bytes, &len, NULL, 0);
    return bytes;
}

static bool comes_here(void)
{
    uint64_t before = served();
    void *ptr = malloc(64);
    bool here = served() != before;

    free(ptr);
    return here;
}

static bool ask(void)
{
    int unknown = UNKNOWN, saved = errno;

    // By their names, these are the definitions in front.
    if (malloc == heap_own_malloc || free == heap_own_free) {
        atomic_store(&state, NO);
        return false;
    }
    // The code that watches may allocate in turn; and a thread that comes meanwhile is served here.
    if (!atomic_compare_exchange_strong(&state, &unknown, ASKING))
        return unknown == YES;
    bool other = !comes_here();
    atomic_store(&state, other ? YES : NO);
    errno = saved;
    return other;
}

bool aside(void)
{
    int known = atomic_load_explicit(&state, memory_order_acquire);

    return unlikely(known == UNKNOWN) ? ask() : known == YES;
}

bool aside_is_known(void)
{
    return atomic_load_explicit(&state, memory_order_acquire) >= NO;
}

const char *aside_for(void)
{
    Dl_info info;
    // Not its address, which may be that of a program's jump to it.
    void *at = dlsym(RTLD_DEFAULT, "malloc");

    return at && dladdr(at, &info) && info.dli_fname ? info.dli_fname : "another library";
}

void *aside_alloc(size_t size, bool zero)
{
    return zero ? calloc(1, size) : malloc(size);
}

void *aside_realloc(void *ptr, size_t size)
{
    return realloc(ptr, size);
}

// By whichever of its names the other allocator has.
void *aside_aligned(size_t alignment, size_t size)
{
    void *ptr;

    if (posix_memalign != heap_own_posix_memalign) {
        int error = posix_memalign(&ptr, alignment < sizeof ptr ? sizeof ptr : alignment, size);
        if (error)
            errno = error;
        return error ? NULL : ptr;
    }
    if (memalign != heap_own_memalign)
        return memalign(alignment, size);
    if (aligned_alloc != heap_own_aligned_alloc)
        return aligned_alloc(alignment, (size + alignment - 1) & -alignment);
    if (alignment <= _Alignof(max_align_t))
        return malloc(size);
    errno = ENOMEM;
    return NULL;
}

size_t aside_usable_size(void *ptr)
{
    return malloc_usable_size == heap_own_malloc_usable_size ? 0 : malloc_usable_size(ptr);
}
