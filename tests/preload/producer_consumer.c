// Eight threads allocate, fill and send each other blocks; the receiver of one checks every byte
// and frees it.

#include "tests/preload/victim.h"

#include <pthread.h>

enum { THREADS = 8, SLOTS = 512, STEPS = 30000 };

// A slot is filled by one thread and emptied by another; the lock covers the move alone.
static struct slot {
    pthread_mutex_t lock;
    unsigned char *p;
    size_t size;
    uint64_t seed;
} slots[SLOTS];

static void *work(void *arg)
{
    uint64_t state = (uintptr_t)arg * 7919 + 1;
    for (int i = 0; i < STEPS; i++) {
        // Mostly small buffers, so that the payload can be checked whole.
        size_t size = victim_random(&state) % 16 ? 500 + victim_random(&state) % 6000
                                                 : victim_pooled_size(&state) / 2;
        uint64_t seed = victim_random(&state);
        unsigned char *p = malloc(size);
        CHECK(p, "%zu bytes", size);
        victim_fill(p, size, seed);
        struct slot *s = &slots[victim_random(&state) % SLOTS];
        pthread_mutex_lock(&s->lock);
        struct slot was = *s;
        s->p = p;
        s->size = size;
        s->seed = seed;
        pthread_mutex_unlock(&s->lock);
        CHECK(!was.p || victim_intact(was.p, was.size, was.size, was.seed), "%zu bytes", was.size);
        if (victim_random(&state) % 4 == 0)
            was.p = realloc(was.p, was.size / 2 + 1);
        free(was.p);
    }
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < SLOTS; i++)
        pthread_mutex_init(&slots[i].lock, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)i) == 0, "thread");
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < SLOTS; i++) {
        CHECK(!slots[i].p || victim_intact(slots[i].p, slots[i].size, slots[i].size, slots[i].seed),
              "slot %zu", i);
        free(slots[i].p);
    }
    return 0;
}
