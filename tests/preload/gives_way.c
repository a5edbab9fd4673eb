// A program that frees and takes blocks of one size until the pools keep all of them, and then goes
// on with blocks of another size: the free ones give way before new pages are taken. No limit is
// near, and none of them is old.

#include "tests/preload/victim.h"

#include <time.h>

enum { LIVE = 96 * 1024 * 1024, ROUNDS = 60, MOST = LIVE / (40 * 1024) };

static void *block[MOST];

static void fill(size_t size, bool slowly)
{
    const struct timespec ms = {0, 1000000};
    size_t count = LIVE / size;

    for (size_t i = 0; i < count; i++) {
        block[i] = malloc(size);
        CHECK(block[i], "no block %zu of %zu", i, size);
        memset(block[i], 1, size);
        if (slowly && i % 8 == 0)
            nanosleep(&ms, NULL);
    }
}

static void empty(size_t size)
{
    for (size_t i = 0; i < LIVE / size; i++)
        free(block[i]);
}

int main(void)
{
    size_t before = victim_resident_bytes();

    for (int i = 0; i < ROUNDS; i++) {
        fill(40 * KIB, false);
        empty(40 * KIB);
    }
    CHECK(victim_resident_bytes() > before + LIVE / 2, "nothing was kept");
    fill(300 * KIB, true);
    size_t rss = victim_resident_bytes() - before;
    CHECK(rss < (size_t)LIVE + LIVE / 2, "%zu MiB live, %zu MiB resident", (size_t)LIVE / MIB,
          rss / MIB);
    return 0;
}
