// grows keeps|bounded|marked|usable: buffers that realloc() makes larger step by step.
//
//   keeps    four threads grow buffers by steps of many sizes, up to 3 MiB, shrink some, pass some
//   on;
//            each has its contents, and stays where it is for most steps once others have grown so
//   bounded  after buffers that grew to 1 MiB, a thousand that grow to 20 KiB and stay: they do not
//            reserve 1 MiB each
//   marked   pages of grown buffers are protected and freed; the next ones can be written
//   usable   all of malloc_usable_size() may be written, and is there after the next step

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

// The first and the last word are the seed; the last one of a buffer that shrank is written anew.
static unsigned char *resize(unsigned char *p, size_t from, size_t to, uint64_t seed)
{
    unsigned char *q = realloc(p, to);

    CHECK(q, "no %zu bytes", to);
    CHECK(!from || memcmp(q, &seed, 8) == 0, "the first word, from %zu to %zu", from, to);
    CHECK(!from || from > to || memcmp(q + from - 8, &seed, 8) == 0, "the last, from %zu to %zu",
          from, to);
    memcpy(q, &seed, 8);
    memcpy(q + to - 8, &seed, 8);
    return q;
}

static _Atomic(unsigned char *) passed[8];

static void *grow_and_pass(void *arg)
{
    uint64_t state = 5 + (uintptr_t)arg;
    unsigned moves = 0, steps = 0;

    for (int round = 0; round < 150; round++) {
        size_t size = 16, last = round % 3 ? MIB - 100 : victim_pooled_size(&state);
        size_t step = round % 10 ? 1 + victim_random(&state) % 20000 : 3 * MIB;
        uint64_t seed = victim_random(&state);
        unsigned char *p = resize(NULL, 0, size, seed);
        while (size < last) {
            size_t next = size + step;
            unsigned char *before = p;
            p = resize(p, size, next, seed);
            size = next;
            moves += p != before;
            steps++;
        }
        if (victim_random(&state) % 4 == 0)
            p = resize(p, size, size / 3 + 16, seed);
        // Another thread frees it.
        free(atomic_exchange(&passed[victim_random(&state) % COUNT(passed)], p));
    }
    CHECK(moves < steps, "%u moves in %u steps", moves, steps);
    return NULL;
}

static void keeps(void)
{
    pthread_t t[4];

    for (uintptr_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, grow_and_pass, (void *)i) == 0, "thread");
    for (size_t i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < COUNT(passed); i++)
        free(passed[i]);
}

static unsigned char *grown(size_t to)
{
    unsigned char *p = NULL;

    for (size_t size = 500; size < to; size += 500)
        p = realloc(p, size);
    return realloc(p, to);
}

static void teach(void)
{
    for (int i = 0; i < 8; i++)
        free(grown(MIB));
}

static void bounded(void)
{
    static unsigned char *p[1000];
    size_t usable = 0, moves = 0;

    teach();
    unsigned char *q = grown(2000), *before = q;
    for (size_t size = 2500; size < MIB; size += 500)
        moves += (q = realloc(q, size)) != before, before = q;
    if (!getenv("TIDEPOOL_SAMPLE"))
        CHECK(moves == 0, "%zu moves of a buffer like those before", moves);
    free(q);
    for (size_t i = 0; i < COUNT(p); i++) {
        p[i] = grown(20 * KIB);
        usable += malloc_usable_size(p[i]);
    }
    CHECK(usable < COUNT(p) * 26 * KIB + 20 * MIB, "%zu MiB for 20", usable / MIB);
    for (size_t i = 0; i < COUNT(p); i++)
        free(p[i]);
}

static void marked(void)
{
    teach();
    for (int i = 0; i < 10; i++) {
        unsigned char *p = grown(300 * KIB);
        unsigned char *page = (unsigned char *)(((uintptr_t)p + 8191) & ~(uintptr_t)4095);
        memset(p, 1, 300 * KIB);
        CHECK(mprotect(page, 8192, i % 2 ? PROT_NONE : PROT_READ) == 0, "mprotect");
        free(p);
        for (int k = 0; k < 4; k++) {
            p = grown(MIB);
            victim_fill(p, MIB, 7);
            free(p);
        }
    }
}

static void usable(void)
{
    teach();
    for (size_t size = 1100; size < 2 * MIB; size += 7777) {
        unsigned char *p = grown(size);
        size_t all = malloc_usable_size(p);
        CHECK(all >= size, "%zu of %zu", all, size);
        victim_fill(p, all, size);
        p = realloc(p, all + 5000);
        CHECK(victim_intact(p, all, all, size), "%zu, of which %zu were asked for", all, size);
        free(p);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"keeps", keeps}, {"bounded", bounded}, {"marked", marked}, {"usable", usable}};

    for (size_t i = 0; i < COUNT(modes); i++)
        if (argc == 2 && strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    CHECK(false, "usage: grows MODE");
}
