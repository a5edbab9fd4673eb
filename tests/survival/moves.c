// moves LIVE_MIB ROUNDS THREADS - what is live stays as it is while free pages move about.
//
// Near its limit: blocks of 32 KiB to 6 MiB that die at random, all pages of each checked as they
// go; now and then some that must be zero; and, where there is one thread, children that find every
// block of their parent's as it was.

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

enum { MAX_BLOCKS = 4096 };

static size_t share, operations;
static bool forks;

struct own {
    struct block *block[MAX_BLOCKS];
    size_t count, bytes;
    uint64_t seed;
};

static void drop(struct own *o)
{
    size_t i = load_random(&o->seed) % o->count;

    o->bytes -= o->block[i]->size;
    load_give(o->block[i]);
    o->block[i] = o->block[--o->count];
}

static void make_room(struct own *o, size_t size)
{
    while (o->count && (o->bytes + size > share || o->count == MAX_BLOCKS))
        drop(o);
}

static void expect_zero(size_t size)
{
    unsigned char *p = calloc(1, size);

    if (!p)
        load_die("calloc returned NULL");
    if (p[0] || memcmp(p, p + 1, size - 1) != 0)
        load_die("calloc returned what was there before");
    memset(p, 0xcc, size);
    free(p);
}

static void step(struct own *o)
{
    size_t size = load_random_size(&o->seed, 32 * KIB, 6 * MIB);

    make_room(o, size);
    if (load_random(&o->seed) % 16 == 0) {
        expect_zero(size);
        return;
    }
    o->block[o->count++] = load_take(size);
    o->bytes += size;
}

static void inherit(struct own *o)
{
    int status;
    pid_t child = fork();

    if (child < 0)
        load_die("no child");
    if (!child) {
        for (size_t i = 0; i < o->count; i++)
            load_check(o->block[i]);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        load_die("a child found something else than its parent had");
}

static void *churn(void *arg)
{
    struct own *o = load_table(sizeof *o);

    o->seed = (uintptr_t)arg * 7919 + 1;
    for (size_t i = 0; i < operations; i++) {
        step(o);
        if (forks && i % 1000 == 999)
            inherit(o);
    }
    while (o->count)
        drop(o);
    return NULL;
}

int main(int argc, char **argv)
{
    size_t bytes = load_start(argc, argv), rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 10;
    size_t threads = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

    if (!threads)
        load_die("no threads");
    share = bytes / threads;
    forks = threads == 1;
    operations = rounds * 1000 / threads;
    load_in_threads(threads, churn);
    load_report();
}
