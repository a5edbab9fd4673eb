// What the allocator in front does not define comes to the one behind it, and its blocks are freed
// in front: all of them have to be of one heap.

#include "tests/preload/victim.h"

#include <malloc.h>

void *__libc_malloc(size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void use(void *block, size_t size)
{
    CHECK(block, "%zu bytes", size);
    memset(block, 'b', size);
    block = realloc(block, size + 1);
    free(block);
}

int main(void)
{
    // In a program whose addresses are fixed, this is one of its own: a jump to malloc().
    void *(*volatile by_address)(size_t) = malloc;

    for (size_t i = 0; i < COUNT(victim_sizes); i++) {
        size_t size = victim_sizes[i];
        use(reallocarray(NULL, size, 1), size);
        use(memalign(64, size), size);
        use(aligned_alloc(4096, size), size);
        use(valloc(size), size);
        use(__libc_malloc(size), size);
        use(__libc_memalign(256, size), size);
        use(strdup("text"), 5);
        void *block = by_address(size);
        block = reallocarray(block, size, 2);
        CHECK(malloc_usable_size(block) == 0, "a block of the other heap");
        use(block, 2 * size);
    }
    return 0;
}
