// Blocks are aligned as asked, and malloc's for any object that fits in them; sizes 1 to 2 MiB,
// alignments 8 to 1 MiB.

#include "tests/preload/victim.h"

#include <malloc.h>

static bool aligned(const void *p, size_t align)
{
    return p && (uintptr_t)p % align == 0;
}

static void plain(size_t size)
{
    // jemalloc's blocks of up to 8 bytes are aligned to 8: no object in them needs more.
    size_t align = size > 8 ? 16 : 8;
    void *p[3] = {malloc(size), calloc(1, size), realloc(NULL, size)};
    for (size_t i = 0; i < 3; i++)
        CHECK(aligned(p[i], align), "%zu by way %zu: %p", size, i, p[i]);
    for (size_t i = 0; i < 3; i++)
        free(p[i]);
}

static void asked(size_t align, size_t size)
{
    void *p[4] = {NULL};
    CHECK(posix_memalign(&p[0], align, size) == 0, "posix_memalign(%zu, %zu)", align, size);
    p[1] = aligned_alloc(align, size);
    p[2] = memalign(align, size);
    CHECK(posix_memalign(&p[3], align, size) == 0, "posix_memalign(%zu, %zu)", align, size);
    for (size_t i = 0; i < 4; i++) {
        CHECK(aligned(p[i], align), "align %zu, size %zu, way %zu: %p", align, size, i, p[i]);
        CHECK(malloc_usable_size(p[i]) >= size, "align %zu, size %zu", align, size);
        victim_fill(p[i], size, size + i);
    }
    for (size_t i = 0; i < 4; i++)
        CHECK(victim_intact(p[i], size, size, size + i), "align %zu, size %zu", align, size);
    p[2] = realloc(p[2], size + size / 2 + 1);
    CHECK(victim_intact(p[2], size, size, size + 2), "align %zu, size %zu, grown", align, size);
    p[3] = realloc(p[3], size / 2 + 1);
    CHECK(victim_intact(p[3], size / 2 + 1, size, size + 3), "align %zu, size %zu, cut", align,
          size);
    for (size_t i = 0; i < 4; i++)
        free(p[i]);
}

int main(void)
{
    for (size_t size = 1; size <= 4 * KIB; size++)
        plain(size);
    for (size_t size = 4 * KIB; size <= 2 * MIB; size += size / 61)
        plain(size);
    for (size_t align = 8; align <= MIB; align *= 2)
        for (size_t size = 1; size <= 2 * MIB; size += size / 3 + 1)
            asked(align, size);
    // The sizes that direct I/O asks for.
    for (size_t align = 512; align <= MIB; align *= 2)
        for (size_t size = KIB; size <= 2 * MIB; size *= 2)
            asked(align, size);
    return 0;
}
