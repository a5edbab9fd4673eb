// A resized block holds what it held, whichever side of whichever border it comes from or goes to.

#include "tests/preload/victim.h"

#include <malloc.h>

static void every_pair(void)
{
    for (size_t a = 0; a < COUNT(victim_sizes); a++)
        for (size_t b = 0; b < COUNT(victim_sizes); b++)
            for (int born = 0; born < 2; born++) {
                size_t from = victim_sizes[a], to = victim_sizes[b];
                void *p = born ? memalign(4096, from) : malloc(from);
                victim_fill(p, from, a + 1);
                p = realloc(p, to);
                CHECK(p, "%zu to %zu", from, to);
                CHECK(victim_intact(p, from < to ? from : to, from, a + 1), "%zu to %zu", from, to);
                CHECK(malloc_usable_size(p) >= to, "%zu to %zu", from, to);
                victim_fill(p, to, b);
                free(p);
            }
}

// A buffer that grows line by line, as most programs' do.
static void growth(void)
{
    size_t size = 1;
    unsigned char *p = malloc(size);
    p[0] = 1;
    for (size_t n = 2; n < 3 * MIB; n += n / 50 + 1) {
        p = realloc(p, n);
        CHECK(p, "%zu", n);
        for (; size < n; size++)
            p[size] = (unsigned char)(size * 7 + 1);
    }
    for (size_t i = 0; i < size; i++)
        CHECK(p[i] == (unsigned char)(i * 7 + 1), "byte %zu of %zu", i, size);
    free(p);
}

static void walk(void)
{
    enum { BLOCKS = 64 };
    struct {
        void *p;
        size_t size;
        uint64_t seed;
    } b[BLOCKS] = {{0}};
    uint64_t state = 42;
    for (uint64_t i = 1; i < 20000; i++) {
        size_t at = victim_random(&state) % BLOCKS;
        size_t to = victim_random(&state) % 8 ? victim_pooled_size(&state) / 4
                                              : victim_random(&state) % (2 * MIB);
        b[at].p = realloc(b[at].p, to + 1);
        size_t kept = b[at].size < to ? b[at].size : to;
        CHECK(victim_intact(b[at].p, kept, b[at].size, b[at].seed), "step %d", (int)i);
        b[at].size = to;
        b[at].seed = i;
        victim_fill(b[at].p, to, i);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(b[i].p);
}

// Buffers that are cut to fit keep no more than a quarter beyond that, wherever they lie; and those
// that grow on do not run into what was put behind them.
static void shrinks(void)
{
    enum { BLOCKS = 40 };
    static const size_t from[] = {20 * KIB, 100 * KIB, 700 * KIB, MIB, 3 * MIB, 3 * MIB};
    static const size_t to[] = {14 * KIB + 1,  60 * KIB, 400 * KIB,
                                512 * KIB + 1, 2 * MIB,  600 * KIB};

    for (size_t i = 0; i < COUNT(from); i++) {
        void *cut[BLOCKS], *beside[BLOCKS];
        for (size_t n = 0; n < BLOCKS; n++) {
            cut[n] = malloc(from[i]);
            victim_fill(cut[n], from[i], n);
        }
        for (size_t n = 0; n < BLOCKS; n++) {
            cut[n] = realloc(cut[n], to[i]);
            size_t have = malloc_usable_size(cut[n]);
            // Below 16 KiB half of it may stay.
            CHECK(have <= (to[i] < 16 * KIB ? 2 * to[i] : to[i] + to[i] / 3), "%zu to %zu: %zu",
                  from[i], to[i], have);
            beside[n] = malloc(n % 2 ? from[i] - to[i] : 8 * KIB);
            victim_fill(beside[n], n % 2 ? from[i] - to[i] : 8 * KIB, n + BLOCKS);
        }
        for (size_t n = 0; n < BLOCKS; n += 3) {
            cut[n] = realloc(cut[n], from[i]);
            CHECK(victim_intact(cut[n], to[i], from[i], n), "%zu to %zu and back", from[i], to[i]);
            victim_fill(cut[n], from[i], n);
        }
        for (size_t n = 0; n < BLOCKS; n++) {
            size_t size = n % 3 ? to[i] : from[i];
            CHECK(victim_intact(cut[n], size, from[i], n), "%zu to %zu", from[i], to[i]);
            size = n % 2 ? from[i] - to[i] : 8 * KIB;
            CHECK(victim_intact(beside[n], size, size, n + BLOCKS), "beside %zu", to[i]);
            free(cut[n]);
            free(beside[n]);
        }
    }
}

int main(void)
{
    every_pair();
    growth();
    walk();
    shrinks();
    return 0;
}
