// nallocx_keeps: a program of jemalloc's that asks nallocx() how large a block will be, and uses
// all of it. The block is no smaller, whatever the size and the alignment and whether it is sampled
// or not, and no byte of it is lost when it is resized.

#include "tests/preload/victim.h"

#include <malloc.h>

static void *(*mallocx_)(size_t, int);
static void *(*rallocx_)(void *, size_t, int);
static size_t (*nallocx_)(size_t, int);
static size_t (*sallocx_)(const void *, int);
static void (*dallocx_)(void *, int);

static void *by_any_name(void *p, size_t size, int lg_align, uint64_t seed)
{
    return seed % 2 ? realloc(p, size) : rallocx_(p, size, lg_align);
}

static void use_all_of(size_t size, int lg_align, uint64_t seed)
{
    size_t have = nallocx_(size, lg_align);
    unsigned char *p = mallocx_(size, lg_align);
    CHECK(p, "mallocx(%zu, %d)", size, lg_align);
    CHECK(((uintptr_t)p & (((uintptr_t)1 << lg_align) - 1)) == 0, "%p, %d", (void *)p, lg_align);
    CHECK(sallocx_(p, lg_align) >= have, "%zu of %zu for (%zu, %d)", sallocx_(p, lg_align), have,
          size, lg_align);
    CHECK(malloc_usable_size(p) == sallocx_(p, lg_align), "%zu", malloc_usable_size(p));
    victim_fill(p, have, seed);
    size_t size_now = seed % 3 ? have * 2 : have / 2 + 1, left = size_now < have ? size_now : have;
    p = by_any_name(p, size_now, lg_align, seed);
    CHECK(p, "%zu to %zu", size, size_now);
    CHECK(victim_intact(p, left, have, seed), "(%zu, %d) to %zu lost bytes", size, lg_align,
          size_now);
    CHECK(malloc_usable_size(p) >= size_now, "%zu", size_now);
    dallocx_(p, 0);
}

int main(void)
{
    uint64_t state = 7;
    mallocx_ = (void *(*)(size_t, int))victim_symbol("mallocx");
    rallocx_ = (void *(*)(void *, size_t, int))victim_symbol("rallocx");
    nallocx_ = (size_t(*)(size_t, int))victim_symbol("nallocx");
    sallocx_ = (size_t(*)(const void *, int))victim_symbol("sallocx");
    dallocx_ = (void (*)(void *, int))victim_symbol("dallocx");
    if (!mallocx_)
        return 0;
    for (int i = 0; i < 60000; i++)
        use_all_of(1 + victim_random(&state) % 2000, (int)(victim_random(&state) % 15), i);
    for (int i = 0; i < 2000; i++)
        use_all_of(victim_pooled_size(&state) * 2, (int)(victim_random(&state) % 17), i);
    return 0;
}
