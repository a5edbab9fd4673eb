// own_names - a program that defines malloc(3)'s functions itself and ends in glibc's names for
// them, as programs do that count their requests.
#include "tests/preload/victim.h"

#include <errno.h>
#include <malloc.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_valloc(size_t size);
void *__libc_pvalloc(size_t size);
void __libc_free(void *ptr);

static unsigned requests;

#define OURS(params, name, call)                                                                   \
    __attribute__((visibility("default"))) void *name params                                       \
    {                                                                                              \
        requests++;                                                                                \
        return call;                                                                               \
    }
OURS((size_t size), malloc, __libc_malloc(size))
OURS((size_t count, size_t size), calloc, __libc_calloc(count, size))
OURS((void *ptr, size_t size), realloc, __libc_realloc(ptr, size))
OURS((size_t alignment, size_t size), memalign, __libc_memalign(alignment, size))
OURS((size_t size), valloc, __libc_valloc(size))
OURS((size_t size), pvalloc, __libc_pvalloc(size))

__attribute__((visibility("default"))) int posix_memalign(void **out, size_t alignment, size_t size)
{
    requests++;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

__attribute__((visibility("default"))) void free(void *ptr)
{
    __libc_free(ptr);
}

static void use(void *block, size_t size)
{
    CHECK(block && malloc_usable_size(block) >= size, "%zu bytes", size);
    memset(block, 'b', size);
    block = realloc(block, 2 * size);
    CHECK(block && ((char *)block)[size - 1] == 'b', "%zu bytes, twice as many", size);
    free(block);
}

int main(void)
{
    for (size_t i = 0; i < COUNT(victim_sizes); i++) {
        size_t size = victim_sizes[i];
        void *block;
        use(malloc(size), size);
        use(calloc(1, size), size);
        use(memalign(64, size), size);
        use(valloc(size), size);
        use(pvalloc(size), size);
        CHECK(posix_memalign(&block, 128, size) == 0, "%zu bytes", size);
        use(block, size);
    }
    return requests < 12 * COUNT(victim_sizes);
}
