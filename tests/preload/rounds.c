// Takes and frees one set of blocks again and again, and is no larger for it: what was freed and
// grew together is cut again. No limit is near, so nothing is given back.

#include "tests/preload/victim.h"

enum { ROUNDS = 12 };

static void rounds(size_t bytes, size_t size)
{
    static void *p[65536];
    size_t count = bytes / size, before = victim_resident_bytes();

    CHECK(count <= COUNT(p), "%zu blocks", count);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            p[i] = malloc(size);
            memset(p[i], 1, size);
        }
        for (size_t i = 0; i < count; i++)
            free(p[i]);
    }
    size_t rss = victim_resident_bytes();
    CHECK(rss < before + 2 * bytes, "%zu MiB by %zu: %zu MiB resident, %zu before", bytes / MIB,
          size, rss / MIB, before / MIB);
}

int main(void)
{
    static const size_t sizes[] = {3000, 10000, 64 * KIB, 200000, MIB, 3 * MIB};

    for (size_t i = 0; i < COUNT(sizes); i++)
        rounds(64 * MIB, sizes[i]);
    return 0;
}
