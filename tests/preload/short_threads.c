// 10,000 threads, each gone after a few blocks, one of which the next thread frees. What they leave
// behind does not add up.

#include "tests/preload/victim.h"

#include <pthread.h>

enum { THREADS = 10000, AT_ONCE = 4 };

struct gift {
    void *p;
    size_t size;
    uint64_t seed;
};
static struct gift gifts[AT_ONCE];

static void *live(void *arg)
{
    struct gift *g = arg;
    uint64_t state = g->seed + 1;
    CHECK(!g->p || victim_intact(g->p, g->size, g->size, g->seed), "a gift of %zu", g->size);
    free(g->p);
    for (int i = 0; i < 8; i++) {
        size_t size = victim_pooled_size(&state);
        char *p = malloc(size);
        p[0] = p[size - 1] = 1;
        free(p);
    }
    g->seed++;
    g->size = victim_pooled_size(&state);
    g->p = malloc(g->size);
    victim_fill(g->p, g->size, g->seed);
    return NULL;
}

int main(void)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * KIB);
    for (size_t i = 0; i < AT_ONCE; i++)
        gifts[i].seed = i << 32;
    size_t early = 0;
    for (int i = 0; i < THREADS / AT_ONCE; i++) {
        pthread_t t[AT_ONCE];
        for (size_t j = 0; j < AT_ONCE; j++)
            CHECK(pthread_create(&t[j], &attr, live, &gifts[j]) == 0, "thread");
        for (size_t j = 0; j < AT_ONCE; j++)
            pthread_join(t[j], NULL);
        if (i == THREADS / AT_ONCE / 4)
            early = victim_resident_bytes();
    }
    CHECK(victim_resident_bytes() < early + 64 * MIB, "resident grew from %zu K to %zu K",
          early / KIB, victim_resident_bytes() / KIB);
    return 0;
}
