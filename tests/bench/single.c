// single - patterns of one thread: pair, batch32, batch256, over1000, rand64, rand1000, rand2000,
// rand10000, realloc, append, double.
//
//   single PATTERN SIZE touched|untouched [MS]    ns an operation, peak and last RSS in KiB
//   single PATTERN SIZE touched|untouched =N      N rounds and no clock, for counting instructions
//   single probe                                  exits 0 if the preloaded library is in charge
//
// pair    an operation is malloc and free of one block.
// batch   N blocks are allocated, then all are freed; rounds alternate between the order of
//         allocation (first in, first out) and its reverse. An operation is one malloc and free.
// over    as batch, with more blocks than a bucket of the pools keeps.
// rand    N blocks live; an operation frees a random one and allocates its successor.
// realloc two buffers grow in turns by half from 16 bytes to SIZE, so that neither can always
//         grow in place; an operation is one realloc, and the first and the free are part of it.
#include "history.h"

enum {
    PAIR_SIZES = 4096,
    RAND_STEPS = 65536,
    MAX_LIVE = 10000,
    MAX_BATCH = 1000,
};

static uint32_t sizes[PAIR_SIZES];
static size_t size_mask; // 0 when all sizes are alike
static size_t size_at;

static struct step {
    uint32_t size;
    uint32_t slot;
} steps[RAND_STEPS];
static size_t step_at;

static void *block[MAX_LIVE];
static uint64_t tag_of[MAX_LIVE];
static uint64_t tag;
static size_t count; // blocks in a batch, or live
static size_t grow_to, grow_steps;

ALWAYS_INLINE void pair(size_t rounds, bool touched)
{
    size_t at = size_at;
    for (size_t i = 0; i < rounds; i++) {
        size_t size = sizes[at++ & size_mask];
        void *p = take(size);
        if (touched) {
            touch(p, size, i);
            expect(p, i);
        }
        free(p);
    }
    size_at = at;
}

ALWAYS_INLINE void give(size_t i, bool touched)
{
    if (touched)
        expect(block[i], tag_of[i]);
    free(block[i]);
}

ALWAYS_INLINE void take_into(size_t i, size_t size, bool touched)
{
    block[i] = take(size);
    if (touched)
        touch(block[i], size, tag_of[i] = ++tag);
}

ALWAYS_INLINE void batch(size_t rounds, bool touched)
{
    const size_t n = count;
    for (size_t round = 0; round < 2 * rounds; round++) {
        for (size_t i = 0; i < n; i++)
            take_into(i, sizes[size_at++ & size_mask], touched);
        if (round & 1)
            for (size_t i = 0; i < n; i++)
                give(i, touched);
        else
            for (size_t i = n; i-- > 0;)
                give(i, touched);
    }
}

ALWAYS_INLINE void replace(size_t rounds, bool touched)
{
    size_t at = step_at;
    for (size_t i = 0; i < rounds; i++) {
        const struct step s = steps[at++ % RAND_STEPS];
        give(s.slot, touched);
        take_into(s.slot, s.size, touched);
    }
    step_at = at;
}

// Touches what the buffer has gained.
ALWAYS_INLINE void *grow(void *p, size_t from, size_t to, bool touched)
{
    p = realloc(p, to);
    __asm__ volatile("" : "+r"(p) : : "memory");
    if (!p)
        die("realloc returned NULL");
    if (touched) {
        if (from)
            expect(p, from);
        *(uint64_t *)p = to;
        for (size_t at = (from + PAGE - 1) / PAGE * PAGE; at + sizeof(uint64_t) <= to; at += PAGE)
            if (at)
                *(volatile uint64_t *)((char *)p + at) = to;
    }
    return p;
}

static size_t add_half(size_t size)
{
    return size ? (size + size / 2 + 8) & ~(size_t)7 : 16;
}

static size_t add_1000(size_t size)
{
    return size + 1000;
}

static size_t add_itself(size_t size)
{
    return size ? 2 * size : 64;
}

ALWAYS_INLINE size_t next_size(size_t (*add)(size_t), size_t size)
{
    size_t next = add(size);
    return next < grow_to ? next : grow_to;
}

ALWAYS_INLINE void growth(size_t rounds, bool touched)
{
    for (size_t round = 0; round < rounds; round++) {
        void *one = NULL, *two = NULL;
        for (size_t from = 0, to; from < grow_to; from = to) {
            to = next_size(add_half, from);
            one = grow(one, from, to, touched);
            two = grow(two, from, to, touched);
        }
        free(one);
        free(two);
    }
}

ALWAYS_INLINE void grow_alone(size_t (*add)(size_t), size_t rounds, bool touched)
{
    for (size_t round = 0; round < rounds; round++) {
        void *p = NULL;
        for (size_t from = 0, to; from < grow_to; from = to) {
            to = next_size(add, from);
            p = grow(p, from, to, touched);
        }
        free(p);
    }
}

ALWAYS_INLINE void append(size_t rounds, bool touched)
{
    grow_alone(add_1000, rounds, touched);
}

ALWAYS_INLINE void doubling(size_t rounds, bool touched)
{
    grow_alone(add_itself, rounds, touched);
}

#define BOTH(f)                                                                                    \
    static void f##_untouched(size_t rounds)                                                       \
    {                                                                                              \
        f(rounds, false);                                                                          \
    }                                                                                              \
    static void f##_touched(size_t rounds)                                                         \
    {                                                                                              \
        f(rounds, true);                                                                           \
    }
BOTH(pair)
BOTH(batch)
BOTH(replace)
BOTH(growth)
BOTH(append)
BOTH(doubling)

static const struct pattern {
    const char *name;
    void (*untouched)(size_t), (*touched)(size_t);
    size_t count;
    size_t (*add)(size_t); // what a buffer grows by
    size_t buffers;
} patterns[] = {
    {"pair", pair_untouched, pair_touched, 0, NULL, 0},
    {"batch32", batch_untouched, batch_touched, 32, NULL, 0},
    {"batch256", batch_untouched, batch_touched, 256, NULL, 0},
    {"over1000", batch_untouched, batch_touched, 1000, NULL, 0},
    {"rand64", replace_untouched, replace_touched, 64, NULL, 0},
    {"rand1000", replace_untouched, replace_touched, 1000, NULL, 0},
    {"rand2000", replace_untouched, replace_touched, 2000, NULL, 0},
    {"rand10000", replace_untouched, replace_touched, 10000, NULL, 0},
    {"realloc", growth_untouched, growth_touched, 0, add_half, 2},
    {"append", append_untouched, append_touched, 0, add_1000, 1},
    {"double", doubling_untouched, doubling_touched, 0, add_itself, 1},
};

static const struct pattern *find(const char *name)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (!strcmp(patterns[i].name, name))
            return &patterns[i];
    die("unknown pattern");
}

static void prepare_sizes(const char *spec)
{
    size_mask = is_mixed(spec) ? PAIR_SIZES - 1 : 0;
    for (size_t i = 0; i <= size_mask; i++)
        sizes[i] = draw_size(spec);
}

static void fill(const char *spec, bool touched)
{
    for (size_t i = 0; i < RAND_STEPS; i++)
        steps[i] = (struct step){draw_size(spec), next_random() % count};
    for (size_t i = 0; i < count; i++)
        take_into(i, steps[i % RAND_STEPS].size, touched);
}

int main(int argc, char **argv)
{
    check_allocator();
    if (argc == 2 && !strcmp(argv[1], "probe"))
        return 0;
    if (argc < 4)
        die("usage: single PATTERN SIZE touched|untouched [MS|=ROUNDS]");
    const struct pattern *p = find(argv[1]);
    const bool touched = !strcmp(argv[3], "touched");
    void (*run)(size_t) = touched ? p->touched : p->untouched;
    size_t ops = 1, warm_ops = is_mixed(argv[2]) ? 2 * PAIR_SIZES : 0;

    make_history();
    count = p->count;
    prepare_sizes(argv[2]);
    if (p->untouched == replace_untouched) {
        fill(argv[2], touched);
        warm_ops = count * (is_mixed(argv[2]) ? 100 : 2);
    } else if (p->add) {
        grow_to = sizes[0];
        for (size_t size = 0; size < grow_to; size = next_size(p->add, size))
            grow_steps++;
        ops = p->buffers * grow_steps;
    } else if (count) {
        ops = 2 * count;
    }
    if (argc > 4 && argv[4][0] == '=')
        run(strtoul(argv[4] + 1, NULL, 10));
    else
        report(measure(run, ops, warm_ops, argc > 4 ? (unsigned)atoi(argv[4]) : 20));
    return 0;
}
