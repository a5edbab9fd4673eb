// too_large: asks again and again for what no limit has room for, and no address space. Each fails,
// or is address space that nothing is touched of, and none of them is worth a reclaim: run.sh reads
// in the figures of the end how many there were.

#include "tests/preload/victim.h"

static void *(*mallocx)(size_t, int);
static void *(*rallocx)(void *, size_t, int);

static void *by_posix_memalign(size_t size)
{
    void *p = NULL;
    return posix_memalign(&p, 64, size) ? NULL : p;
}

static void ask(int how, size_t size)
{
    char *old = malloc(2 * MIB), *p = NULL;

    CHECK(old, "2 MiB");
    *old = 'x';
    switch (how) {
    case 0:
        p = malloc(size);
        break;
    case 1:
        p = calloc(1, size);
        break;
    case 2:
        p = aligned_alloc(4096, size);
        break;
    case 3:
        p = by_posix_memalign(size);
        break;
    case 4:
        p = mallocx(size, 0);
        break;
    case 5:
        p = realloc(old, size);
        break;
    default:
        p = rallocx(old, size, 0);
        break;
    }
    if (how < 5 || !p) {
        CHECK(*old == 'x', "the old block");
        free(old);
    }
    free(p);
}

int main(void)
{
    *(void **)&mallocx = victim_symbol("mallocx");
    *(void **)&rallocx = victim_symbol("rallocx");
    CHECK(mallocx && rallocx, "a name is missing");
    // What a reclaim could give back: half of 64 MiB.
    char *block[64];
    for (size_t i = 0; i < COUNT(block); i++)
        memset(block[i] = malloc(MIB), 1, MIB);
    for (size_t i = 0; i < COUNT(block); i += 2)
        free(block[i]);
    static const int bits[] = {46, 47, 48, 60, 63};
    for (int how = 0; how < 7; how++)
        for (size_t i = 0; i < COUNT(bits); i++)
            for (int turn = 0; turn < 100; turn++)
                ask(how, (size_t)1 << bits[i]);
    return 0;
}
