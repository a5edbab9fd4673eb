// near_limit LIVE_MIB ROUNDS: blocks of many sizes come and go until LIVE_MIB are live. Each keeps
// its contents until it is freed, and what calloc() returns is zero. Run it with a limit just
// above.

#include "tests/preload/victim.h"

enum { SLOTS = 4096, LARGEST = 400 * 1000 };

struct slot {
    unsigned char *block;
    size_t size;
    uint64_t seed;
};

static void drop(struct slot *s, size_t *live)
{
    CHECK(victim_intact(s->block, s->size, s->size, s->seed), "%zu bytes changed", s->size);
    free(s->block);
    *live -= s->size;
    s->block = NULL;
}

static void fill(struct slot *s, size_t size, uint64_t seed)
{
    *s = (struct slot){.size = size, .seed = seed};
    s->block = seed % 2 ? calloc(1, size) : malloc(size);
    CHECK(s->block, "no block of %zu", size);
    CHECK(seed % 2 == 0 || (s->block[0] == 0 && !memcmp(s->block, s->block + 1, size - 1)),
          "calloc(%zu) is not zero", size);
    victim_fill(s->block, size, seed);
}

int main(int argc, char **argv)
{
    static struct slot slots[SLOTS];
    size_t most = argc > 1 ? strtoul(argv[1], NULL, 10) * MIB : 50 * MIB, live = 0;
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000;
    uint64_t random = 12345;

    for (unsigned long i = 0; i < rounds; i++) {
        struct slot *s = &slots[victim_random(&random) % SLOTS];
        size_t size = 16 + victim_random(&random) % LARGEST;
        if (s->block)
            drop(s, &live);
        if (live + size > most)
            continue;
        fill(s, size, i + 1);
        live += size;
    }
    return 0;
}
