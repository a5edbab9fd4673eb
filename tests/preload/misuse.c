// misuse KIND SIZE: does one forbidden thing to a pooled block, then, if it still lives, checks
// that the heap is whole: no block is handed out twice.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>

static void *free_it(void *p)
{
    free(p);
    return NULL;
}

static void in_a_thread(void *p)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, free_it, p) == 0, "thread");
    pthread_join(t, NULL);
}

// To sizes that are pooled and that are not.
static void rallocx_misused(const char *kind, char *p, size_t size)
{
    const size_t sizes[] = {100, size, 3 * size, 3 * MIB};
    void *(*rallocx)(void *, size_t, int) =
        (void *(*)(void *, size_t, int))victim_symbol("rallocx");
    size_t (*xallocx)(void *, size_t, size_t, int) =
        (size_t(*)(void *, size_t, size_t, int))victim_symbol("xallocx");
    bool interior = strcmp(kind, "rallocx-interior") == 0;

    if (!interior)
        free(p);
    char *wrong = victim_hide(interior ? p + 64 : p);
    if (strcmp(kind, "rallocx-not-in-place") == 0)
        CHECK(xallocx(wrong, size, 0, 0) == 0, "a freed block has a size");
    else
        CHECK(!rallocx(wrong, sizes[size / 1024 % COUNT(sizes)], 0), "a wrong block was resized");
    if (interior)
        free(p);
}

static void misuse(const char *kind, char *p, size_t size)
{
    if (strcmp(kind, "twice") == 0) {
        free(p);
        free(victim_hide(p));
    } else if (strcmp(kind, "twice-with-others-between") == 0) {
        void *q = malloc(size);
        free(p);
        free(q);
        free(victim_hide(p));
    } else if (strcmp(kind, "twice-in-two-threads") == 0) {
        in_a_thread(p);
        free(victim_hide(p));
    } else if (strcmp(kind, "twice-after-trim") == 0) {
        free(p);
        malloc_trim(0);
        free(victim_hide(p));
    } else if (strcmp(kind, "resize-after-free") == 0) {
        free(p);
        CHECK(realloc(victim_hide(p), 3 * size) != p, "a freed block was resized");
    } else if (strncmp(kind, "rallocx-", 8) == 0) {
        rallocx_misused(kind, p, size);
    } else if (strcmp(kind, "interior") == 0) {
        free(victim_hide(p + KIB));
        CHECK(malloc_usable_size(p) >= size, "the block itself is untouched");
        free(p);
    } else if (strcmp(kind, "interior-unaligned") == 0) {
        free(victim_hide(p + 24));
        free(p);
    } else if (strcmp(kind, "never-allocated") == 0) {
        // No block begins in the first 2 MiB of the region, and this is one of the first blocks.
        free(victim_hide(p - MIB));
        free(p);
    } else {
        CHECK(false, "no misuse is called %s", kind);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 3, "usage: misuse KIND SIZE");
    size_t size = strtoul(argv[2], NULL, 10);
    misuse(argv[1], malloc(size), size);

    static void *p[200];
    for (size_t i = 0; i < COUNT(p); i++) {
        p[i] = malloc(size);
        victim_fill(p[i], size, i);
    }
    for (size_t i = 0; i < COUNT(p); i++) {
        CHECK(victim_intact(p[i], size, size, i), "block %zu has two owners", i);
        free(p[i]);
    }
    return 0;
}
