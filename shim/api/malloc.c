// malloc - the allocation family of C, POSIX, C23 and glibc. A few lines each; heap.h does the
// work.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/heap.h"
#include "shim/jemalloc/aside.h"

void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t alignment, size_t size);
void cfree(void *ptr);

static bool is_power_of_two(size_t n)
{
    return n && (n & (n - 1)) == 0;
}

static void *fail(int error)
{
    errno = error;
    return NULL;
}

HEAP_EXPORT void *malloc(size_t size)
{
    return heap_alloc(size);
}

HEAP_EXPORT void free(void *ptr)
{
    heap_free(ptr);
}

HEAP_EXPORT void *calloc(size_t count, size_t size)
{
    return heap_calloc(count, size);
}

HEAP_EXPORT void *realloc(void *ptr, size_t size)
{
    return heap_realloc(ptr, size);
}

HEAP_EXPORT void *reallocarray(void *ptr, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return fail(ENOMEM);
    return heap_realloc(ptr, bytes);
}

// POSIX: the error is returned, errno and *out are left alone.
HEAP_EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    int saved = errno;
    void *ptr;

    if (!is_power_of_two(alignment) || alignment % sizeof(void *))
        return EINVAL;
    ptr = heap_aligned(alignment, size);
    errno = saved;
    if (!ptr)
        return ENOMEM;
    *out = ptr;
    return 0;
}

// C17 lets any size be asked for; an alignment that is no power of two is refused, as by glibc
// since 2.38.
HEAP_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return is_power_of_two(alignment) ? heap_aligned(alignment, size) : fail(EINVAL);
}

// glibc's memalign rounds the alignment up to a power of two.
HEAP_EXPORT void *memalign(size_t alignment, size_t size)
{
    size_t rounded = sizeof(void *);

    if (alignment > SIZE_MAX / 2 + 1)
        return fail(EINVAL);
    while (rounded < alignment)
        rounded *= 2;
    return heap_aligned(rounded, size);
}

HEAP_EXPORT void *valloc(size_t size)
{
    return heap_aligned((size_t)sysconf(_SC_PAGESIZE), size);
}

HEAP_EXPORT void *pvalloc(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded;

    if (__builtin_add_overflow(size, page - 1, &rounded))
        return fail(ENOMEM);
    rounded &= -page;
    return heap_aligned(page, rounded ? rounded : page);
}

HEAP_EXPORT size_t malloc_usable_size(void *ptr)
{
    return heap_usable_size(ptr);
}

#if __has_attribute(copy)
#define OWN(name) __attribute__((alias(#name), visibility("hidden"), copy(name)))
#else
#define OWN(name) __attribute__((alias(#name), visibility("hidden")))
#endif
void *heap_own_malloc(size_t size) OWN(malloc);
void heap_own_free(void *ptr) OWN(free);
int heap_own_posix_memalign(void **out, size_t alignment, size_t size) OWN(posix_memalign);
void *heap_own_aligned_alloc(size_t alignment, size_t size) OWN(aligned_alloc);
void *heap_own_memalign(size_t alignment, size_t size) OWN(memalign);
void *heap_own_valloc(size_t size) OWN(valloc);
void *heap_own_pvalloc(size_t size) OWN(pvalloc);
size_t heap_own_malloc_usable_size(void *ptr) OWN(malloc_usable_size);

HEAP_EXPORT void free_sized(void *ptr, size_t size)
{
    (void)size;
    heap_free(ptr);
}

HEAP_EXPORT void free_aligned_sized(void *ptr, size_t alignment, size_t size)
{
    (void)alignment, (void)size;
    heap_free(ptr);
}

HEAP_EXPORT void cfree(void *ptr)
{
    heap_free(ptr);
}
