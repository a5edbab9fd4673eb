#include "shim/jemalloc/aside.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

// The first library in front of this one that has a malloc() in itself.
static const char *library_in_front(void)
{
    const char *first = "another library";
    struct link_map *map;
    Dl_info info;

    if (!dladdr1((void *)heap_own_malloc, &info, (void **)&map, RTLD_DL_LINKMAP))
        return first;
    while ((map = map->l_prev)) {
        // Neither the program nor the kernel's object has a path here.
        void *library =
            strchr(map->l_name, '/') ? dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD) : NULL;
        void *at = library ? dlsym(library, "malloc") : NULL;
        if (at && dladdr(at, &info) && info.dli_fname == map->l_name)
            first = map->l_name;
        if (library)
            dlclose(library);
    }
    // The program has failed at nothing yet.
    dlerror();
    return first;
}

const char *aside_for(void)
{
    ElfW(Sym) *symbol = NULL;
    Dl_info info;
    void *at = dlsym(RTLD_DEFAULT, "malloc");

    // Where addresses are fixed it may be the program's own jump to another's.
    if (at && dladdr1(at, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol &&
        symbol->st_shndx != SHN_UNDEF)
        return info.dli_fname;
    return library_in_front();
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
