// grows keeps|bounded|outgrows|marked|usable|large|again: buffers that realloc() makes larger step
// by step.
//
//   keeps    four threads grow buffers by steps of many sizes, up to 3 MiB, shrink some, pass some
//   on;
//            each has its contents, and stays where it is for most steps once others have grown so
//   bounded  after buffers that grew to 1 MiB, a thousand that grow to 20 KiB and stay: they do not
//            reserve 1 MiB each
//   outgrows after buffers that grew beyond the pools, the next one stays where it is up to 1 MiB
//   marked   pages of grown buffers are protected and freed; the next ones can be written
//   large    four threads grow buffers to 24 MiB, of which some have a page that cannot be written,
//            while children have them, too; each page has its contents, and calloc()'s are zero
//   again    after a buffer that doubled to 16 MiB and is free, the next one grows in its place
//   usable   all of malloc_usable_size() may be written, and is there after the next step

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void teach(size_t to)
{
    for (int i = 0; i < 8; i++)
        free(grown(to));
}

static void stays_where_it_is(void)
{
    size_t moves = 0;
    unsigned char *p = grown(2000), *before = p;

    for (size_t size = 2500; size < MIB; size += 500)
        moves += (p = realloc(p, size)) != before, before = p;
    if (!getenv("TIDEPOOL_SAMPLE"))
        CHECK(moves == 0, "%zu moves of a buffer like those before", moves);
    free(p);
}

static void outgrows(void)
{
    teach(3 * MIB);
    stays_where_it_is();
}

static void bounded(void)
{
    static unsigned char *p[1000];
    size_t usable = 0;

    teach(MIB);
    stays_where_it_is();
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
    teach(MIB);
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
    teach(MIB);
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

static uint64_t stamp_of(size_t at, uint64_t seed)
{
    return (at + 1) * 0x9e3779b97f4a7c15u ^ seed;
}

static void stamp(unsigned char *p, size_t from, size_t to, uint64_t seed)
{
    for (size_t at = (from + 4095) & -(size_t)4096; at + 8 <= to; at += 4096)
        *(uint64_t *)(p + at) = stamp_of(at, seed);
}

static void check_stamps(const unsigned char *p, size_t to, uint64_t seed)
{
    for (size_t at = 0; at + 8 <= to; at += 4096)
        CHECK(*(const uint64_t *)(p + at) == stamp_of(at, seed), "page %zu of %zu", at / 4096,
              to / 4096);
}

static void check_zero(void)
{
    uint64_t *p = calloc(1, 3 * MIB);

    CHECK(p, "calloc");
    for (size_t i = 0; i < 3 * MIB / 8; i += 64)
        CHECK(!p[i], "calloc: word %zu", i);
    memset(p, 1, 3 * MIB);
    free(p);
}

// A child that is there while its parent's buffer grows, with its own copy of it.
static pid_t watch_in_child(unsigned char *p, size_t size, uint64_t seed)
{
    pid_t child = fork();

    if (child)
        return child;
    usleep(2000);
    check_stamps(p, size, seed);
    _exit(0);
}

static void *grow_large(void *arg)
{
    uint64_t state = 9 + (uintptr_t)arg, seed = victim_random(&state);

    for (int round = 0; round < 12; round++) {
        size_t size = MIB, last = 2 * MIB + victim_random(&state) % (22 * MIB), next;
        int status = 0;
        unsigned char *p = malloc(size);
        stamp(p, 0, size, seed);
        for (; size < last; size = next) {
            pid_t child = victim_random(&state) % 16 ? 0 : watch_in_child(p, size, seed);
            unsigned char *page = (unsigned char *)(((uintptr_t)p + size / 2) & -(uintptr_t)4096);
            if (victim_random(&state) % 8 == 0)
                CHECK(mprotect(page, 4096, PROT_READ) == 0, "mprotect");
            next = size + 1 + victim_random(&state) % (round % 2 ? size : MIB);
            p = realloc(p, next);
            CHECK(p && malloc_usable_size(p) >= next, "no %zu bytes", next);
            check_stamps(p, size, seed);
            // A buffer that stayed where it was has the page as it was, too.
            page = (unsigned char *)(((uintptr_t)p + size / 2) & -(uintptr_t)4096);
            CHECK(mprotect(page - 4096, 8192, PROT_READ | PROT_WRITE) == 0, "mprotect");
            stamp(p, 0, next, seed);
            CHECK(!child || (waitpid(child, &status, 0) == child && !status), "child: %x", status);
        }
        free(p);
        check_zero();
    }
    return NULL;
}

static void large(void)
{
    pthread_t t[4];

    for (uintptr_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, grow_large, (void *)i) == 0, "thread");
    for (size_t i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
}

static unsigned moves_of_growth(size_t to)
{
    size_t size = 1000 * KIB, next;
    unsigned char *p = malloc(size);
    unsigned moves = 0;

    for (stamp(p, 0, size, 7); size < to; size = next) {
        unsigned char *before = victim_hide(p);
        next = 2 * size;
        p = realloc(p, next);
        moves += p != before;
        stamp(p, size, next, 7);
    }
    check_stamps(p, size, 7);
    free(p);
    return moves;
}

static void again(void)
{
    unsigned first = moves_of_growth(16 * MIB), second = moves_of_growth(16 * MIB);

    CHECK(second <= 1, "%u moves, then %u", first, second);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"keeps", keeps}, {"bounded", bounded}, {"outgrows", outgrows}, {"marked", marked},
                 {"large", large}, {"again", again},     {"usable", usable}};

    for (size_t i = 0; i < COUNT(modes); i++)
        if (argc == 2 && strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    CHECK(false, "usage: grows MODE");
}
