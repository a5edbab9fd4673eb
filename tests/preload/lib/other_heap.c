// other_heap - an allocator that defines the least of the family, knows its own blocks, and ends
// the program where it is given another's.

#include "tests/preload/victim.h"

#define OURS __attribute__((visibility("default")))

enum { HEAP = 512 << 20, HEADER = 16 };

static _Alignas(4096) char heap[HEAP];
static size_t used;

static size_t *header(void *ptr)
{
    return (size_t *)((char *)ptr - HEADER);
}

static void *take(size_t alignment, size_t size)
{
    size_t at = (used + HEADER + alignment - 1) & -alignment;

    if (at + size > HEAP)
        return NULL;
    used = at + size;
    *header(heap + at) = size;
    return heap + at;
}

OURS void *malloc(size_t size)
{
    return take(HEADER, size);
}

OURS void *calloc(size_t count, size_t size)
{
    return take(HEADER, count * size);
}

OURS void free(void *ptr)
{
    static const char text[] = "other_heap: a block of another heap\n";

    if (!ptr || ((char *)ptr >= heap && (char *)ptr < heap + HEAP))
        return;
    if (write(STDERR_FILENO, text, sizeof text - 1) >= 0)
        _exit(1);
}

OURS void *realloc(void *ptr, size_t size)
{
    void *to = take(HEADER, size);

    if (to && ptr)
        memcpy(to, ptr, *header(ptr) < size ? *header(ptr) : size);
    free(ptr);
    return to;
}

OURS int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = take(alignment, size);
    return *out ? 0 : ENOMEM;
}
