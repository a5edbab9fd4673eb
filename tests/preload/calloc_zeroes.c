// calloc's block is zero in all its bytes, however dirty what it reuses.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>

static bool zero(const unsigned char *p, size_t size)
{
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

static void dirty(size_t size, size_t count)
{
    static void *p[64];
    for (size_t i = 0; i < count; i++) {
        p[i] = malloc(size);
        memset(p[i], 0xa5, malloc_usable_size(p[i]));
    }
    for (size_t i = 0; i < count; i++)
        free(p[i]);
}

static void one(size_t size)
{
    size_t count = size < 64 * KIB ? 32 : 4;
    void *p[32];
    dirty(size, count);
    for (size_t i = 0; i < count; i++) {
        size_t rows = size % 16 == 0 && i % 2 ? 16 : 1;
        p[i] = calloc(rows, size / rows);
        CHECK(p[i] && zero(p[i], size), "calloc of %zu, block %zu", size, i);
        memset(p[i], 0x5a, malloc_usable_size(p[i]));
    }
    for (size_t i = 0; i < count; i++)
        free(p[i]);
}

static void *elsewhere(void *arg)
{
    dirty(*(size_t *)arg, 16);
    return NULL;
}

int main(void)
{
    for (size_t size = 1; size <= 2 * KIB; size++)
        one(size);
    for (size_t size = 2 * KIB; size <= 6 * MIB; size += size / 23)
        one(size);
    // What another thread dirtied and left behind, and what was purged in between.
    for (size_t size = KIB; size <= 2 * MIB; size *= 2) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, elsewhere, &size) == 0, "thread");
        pthread_join(t, NULL);
        one(size);
        dirty(size, 16);
        malloc_trim(0);
        one(size);
    }
    return 0;
}
