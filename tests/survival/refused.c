// refused THREADS MIN MAX now|late ROUNDS: threads take blocks of MIN to MAX bytes until malloc
// says no, then of half that size, down to MIN; they write to each at once, or to all of them when
// all threads were told no. Then they free, and begin anew. Run with TIDEPOOL_ON_LIMIT=enomem:1K in
// a cgroup: it has to end by itself.

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/survival/load.h"

static size_t least, most;
static bool late;
static int rounds;
static pthread_barrier_t all;

// The list lies in the blocks, so that it needs no memory of its own: a program that touches
// nothing else of them.
struct taken {
    struct taken *next;
    size_t size;
};

static void write_to(struct taken *t)
{
    for (size_t at = sizeof *t; at < t->size; at += 4096)
        ((char *)t)[at] = 1;
}

static struct taken *take(size_t size, struct taken *before)
{
    struct taken *t = malloc(size);

    if (!t)
        return NULL;
    *t = (struct taken){before, size};
    if (!late)
        write_to(t);
    return t;
}

static struct taken *take_all(uint64_t *seed)
{
    struct taken *list = NULL, *t;

    for (size_t top = most; top >= least; top /= 2)
        while ((t = take(least + load_random(seed) % (top - least + 1), list)))
            list = t;
    return list;
}

static void *run(void *arg)
{
    uint64_t seed = (uint64_t)(size_t)arg + 1;

    for (int i = 0; i < rounds; i++) {
        struct taken *list = take_all(&seed), *next;

        pthread_barrier_wait(&all);
        for (struct taken *t = list; t && late; t = t->next)
            write_to(t);
        pthread_barrier_wait(&all);
        for (; list; list = next) {
            next = list->next;
            free(list);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    size_t threads = (size_t)atol(argv[1]);
    least = (size_t)atol(argv[2]);
    most = (size_t)atol(argv[3]);
    late = strcmp(argv[4], "late") == 0;
    rounds = atoi(argv[5]);
    pthread_barrier_init(&all, NULL, (unsigned)threads);
    load_in_threads(threads, run);
    return 0;
}
