// libc_names - the names by which glibc and old programs reach its allocator around malloc(3).
//
// A block from one and free() from the other would be a foreign free, so all lead here. None calls
// another by a name that a program may define: the program's may end here.
#include <stdlib.h>

#include "shim/heap.h"
#include "shim/jemalloc/aside.h"

#define ALSO(name, type, params, call)                                                             \
    type name params;                                                                              \
    HEAP_EXPORT type name params                                                                   \
    {                                                                                              \
        return call;                                                                               \
    }

void __libc_free(void *ptr);
void __libc_cfree(void *ptr);

ALSO(__libc_malloc, void *, (size_t size), heap_alloc(size))
ALSO(__libc_calloc, void *, (size_t count, size_t size), heap_calloc(count, size))
ALSO(__libc_realloc, void *, (void *ptr, size_t size), heap_realloc(ptr, size))
ALSO(__libc_memalign, void *, (size_t alignment, size_t size), heap_own_memalign(alignment, size))
ALSO(__libc_valloc, void *, (size_t size), heap_own_valloc(size))
ALSO(__libc_pvalloc, void *, (size_t size), heap_own_pvalloc(size))
ALSO(__posix_memalign, int, (void **out, size_t alignment, size_t size),
     heap_own_posix_memalign(out, alignment, size))

HEAP_EXPORT void __libc_free(void *ptr)
{
    heap_free(ptr);
}

HEAP_EXPORT void __libc_cfree(void *ptr)
{
    heap_free(ptr);
}
