#include "load.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

static struct counters {
    atomic_size_t live_bytes, peak_bytes, operations;
    double start_s;
} * counters;

_Noreturn void load_die(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    abort();
}

double load_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

size_t load_start(int argc, char **argv)
{
    counters =
        mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counters == MAP_FAILED)
        load_die("no memory for the counters");
    counters->start_s = load_seconds();
    return (argc > 1 ? strtoull(argv[1], NULL, 10) : 200) * MIB;
}

static void count_in(size_t bytes)
{
    size_t live = atomic_fetch_add(&counters->live_bytes, bytes) + bytes;
    size_t peak = atomic_load(&counters->peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak(&counters->peak_bytes, &peak, live))
        ;
}

size_t load_live(void)
{
    return atomic_load(&counters->live_bytes);
}

// Differs between any two blocks that overlap, because the same word is at another distance from
// its block's start.
static uint64_t stamp(const struct block *b, size_t offset)
{
    return ((uintptr_t)b * 31 + offset * 17 + b->size) ^ 0x74696465706f6f6cULL;
}

// The words that are written and checked: after the link, then one each page, then the last whole
// one.
static size_t last_offset(const struct block *b)
{
    return (b->size - sizeof(uint64_t)) & ~(size_t)7;
}

static size_t next_offset(const struct block *b, size_t offset)
{
    size_t last = last_offset(b), next = (offset | (PAGE - 1)) + 1;
    return offset == last ? b->size : next < last ? next : last;
}

static void write_stamps(struct block *b)
{
    for (size_t offset = sizeof *b; offset < b->size - 7; offset = next_offset(b, offset))
        *(uint64_t *)((char *)b + offset) = stamp(b, offset);
}

void load_check(const struct block *b)
{
    for (size_t offset = sizeof *b; offset < b->size - 7; offset = next_offset(b, offset))
        if (*(const uint64_t *)((const char *)b + offset) != stamp(b, offset))
            load_die("a block came back changed");
}

struct block *load_take(size_t size)
{
    struct block *b = malloc(size);
    if (!b)
        load_die("malloc returned NULL");
    b->next = NULL;
    b->size = size;
    write_stamps(b);
    count_in(size);
    atomic_fetch_add_explicit(&counters->operations, 1, memory_order_relaxed);
    return b;
}

void load_give_shared(struct block *b)
{
    load_check(b);
    free(b);
}

void load_uncount(size_t bytes)
{
    atomic_fetch_sub(&counters->live_bytes, bytes);
}

void load_give(struct block *b)
{
    load_uncount(b->size);
    load_give_shared(b);
}

void *load_table(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    if (p == MAP_FAILED)
        load_die("no memory for a table");
    count_in(bytes);
    return p;
}

void load_push(struct block_list *l, struct block *b)
{
    b->next = NULL;
    *(l->last ? &l->last->next : &l->first) = b;
    l->last = b;
    l->count++;
}

struct block *load_pop(struct block_list *l)
{
    struct block *b = l->first;
    if (!b)
        return NULL;
    l->first = b->next;
    if (!l->first)
        l->last = NULL;
    l->count--;
    return b;
}

void load_give_all(struct block_list *l)
{
    for (struct block *b; (b = load_pop(l));)
        load_give(b);
}

// xorshift64*: seeded, so that every run and every allocator sees the same sizes.
uint64_t load_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

size_t load_random_size(uint64_t *state, size_t min, size_t max)
{
    double u = (double)(load_random(state) >> 11) / 9007199254740992.0;
    return (size_t)((double)min * pow((double)max / (double)min, u));
}

void load_report(void)
{
    char line[160];
    int n = snprintf(line, sizeof line, "load peak_bytes=%zu operations=%zu seconds=%.4f\n",
                     atomic_load(&counters->peak_bytes), atomic_load(&counters->operations),
                     load_seconds() - counters->start_s);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        load_die("cannot report");
}
