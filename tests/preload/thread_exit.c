// Destructors of thread-specific data allocate and free, in each of the four rounds that a thread
// gets, so that some run after the allocator's own has given the cache away. Leaks would show: a
// thread leaves nothing behind.

#include "tests/preload/victim.h"

#include <pthread.h>

enum { ROUNDS = 4, THREADS = 400 };
static pthread_key_t keys[8];

struct baggage {
    int rounds_left;
    pthread_key_t key;
    void *block;
    size_t size;
};

static void churn(uint64_t seed)
{
    void *p[16];
    size_t size[16];
    for (size_t i = 0; i < COUNT(p); i++) {
        size[i] = victim_pooled_size(&seed);
        p[i] = malloc(size[i]);
        victim_fill(p[i], size[i] < 8192 ? size[i] : 8192, i);
    }
    for (size_t i = 0; i < COUNT(p); i++) {
        size_t n = size[i] < 8192 ? size[i] : 8192;
        CHECK(victim_intact(p[i], n, n, i), "block %zu", i);
        free(p[i]);
    }
}

static void unload(void *arg)
{
    struct baggage *b = arg;
    CHECK(victim_intact(b->block, b->size, b->size, 3), "%zu bytes of a dying thread", b->size);
    churn(b->size);
    if (b->rounds_left-- > 0) {
        b->block = realloc(b->block, b->size + 1000);
        pthread_setspecific(b->key, b);
        return;
    }
    free(b->block);
    free(b);
}

static void *live(void *arg)
{
    uint64_t seed = (uintptr_t)arg + 1;
    for (size_t k = 0; k < COUNT(keys); k++) {
        struct baggage *b = malloc(sizeof *b);
        // The first round is not counted, and the last must be this library's, not libc's.
        *b = (struct baggage){
            .rounds_left = ROUNDS - 2, .key = keys[k], .size = victim_pooled_size(&seed)};
        b->block = malloc(b->size);
        victim_fill(b->block, b->size, 3);
        pthread_setspecific(keys[k], b);
    }
    churn(seed);
    return NULL;
}

int main(void)
{
    for (size_t k = 0; k < COUNT(keys); k++)
        CHECK(pthread_key_create(&keys[k], unload) == 0, "key");
    size_t early = 0;
    for (uintptr_t i = 0; i < THREADS; i += 4) {
        pthread_t t[4];
        for (uintptr_t j = 0; j < 4; j++)
            CHECK(pthread_create(&t[j], NULL, live, (void *)(i + j)) == 0, "thread");
        for (size_t j = 0; j < 4; j++)
            pthread_join(t[j], NULL);
        if (i == THREADS / 4)
            early = victim_resident_bytes();
    }
    // A cache lost by each thread would be hundreds of megabytes by now.
    CHECK(victim_resident_bytes() < early + 64 * MIB, "resident grew from %zu K to %zu K",
          early / KIB, victim_resident_bytes() / KIB);
    return 0;
}
