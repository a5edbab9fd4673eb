// The table of live samples, against a model that keeps plain arrays.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/heap/sites.h"

enum { SITES = 200, LIVE = 5000, STEPS = 200000 };

static uint32_t number_of(unsigned site)
{
    uintptr_t frame[SITES_DEPTH_MAX];
    unsigned depth = site % SITES_DEPTH_MAX;

    for (unsigned i = 0; i < depth; i++)
        frame[i] = 0x1000 + site * 64 + i;
    // Two that differ in their last frame alone.
    if (depth)
        frame[depth - 1] = site;
    return sites_stack(frame, depth);
}

Test(sites, a_stack_has_one_number)
{
    uint32_t number[SITES];

    for (unsigned i = 1; i < SITES; i++) {
        number[i] = number_of(i);
        cr_assert(number[i] > 0 && number[i] < SITES_STACK_END);
        for (unsigned k = 1; k < i; k++)
            if (i % SITES_DEPTH_MAX || k % SITES_DEPTH_MAX)
                cr_assert(ne(u32, number[i], number[k]), "%u and %u", i, k);
    }
    for (unsigned i = 1; i < SITES; i++) {
        struct site s = sites_at(number[i]);
        cr_expect(eq(u32, number_of(i), number[i]));
        cr_expect(eq(uint, s.depth, i % SITES_DEPTH_MAX));
        cr_expect(s.depth == 0 || s.frame[s.depth - 1] == i);
    }
    cr_expect(eq(uint, sites_at(0).depth, 0));
}

Test(sites, a_name_stands_for_a_frame)
{
    char longest[SITES_NAME_MAX + 1];
    uintptr_t frame[] = {sites_name("one", 3), 0x1000, sites_name("eighteen", 8)};
    struct sites_stats before, after;

    sites_stats(&before);
    memset(longest, 'x', SITES_NAME_MAX);
    longest[SITES_NAME_MAX] = '\0';
    cr_assert(frame[0] && frame[2] && frame[0] != frame[2]);
    cr_expect(eq(u64, sites_name("one", 3), frame[0]));
    cr_expect(strcmp(sites_name_at(frame[0]), "one") == 0);
    cr_expect(strcmp(sites_name_at(frame[2]), "eighteen") == 0);
    cr_expect(strcmp(sites_name_at(sites_name(longest, SITES_NAME_MAX)), longest) == 0);
    cr_expect(eq(u64, sites_name_of((uint32_t)frame[0]), frame[0]));
    // No address is taken for a name, whatever it is, and no stack.
    uint32_t stack = sites_stack(frame, 3);
    cr_expect(eq(u64, sites_name_of(stack), 0));
    cr_expect(sites_name_at(0) == NULL);
    cr_expect(sites_name_at(0x1000) == NULL);
    cr_expect(sites_name_at(UINTPTR_MAX) == NULL);
    cr_expect(sites_name_at(frame[0] - (uint32_t)frame[0] + stack) == NULL);
    cr_expect(sites_name_at(frame[0] | UINT32_MAX) == NULL);
    cr_expect(eq(uint, sites_at((uint32_t)frame[0]).depth, 0));
    sites_stats(&after);
    cr_expect(eq(u64, after.stacks, before.stacks + 1));
}

Test(sites, names_leave_room_for_stacks)
{
    char name[32];
    uintptr_t last = 1;
    unsigned count = 0;

    for (; last && count < SITES_STACK_END; count++)
        last = sites_name(name, (size_t)snprintf(name, sizeof name, "function %u", count));
    cr_expect(eq(u64, last, 0));
    cr_expect(gt(uint, count, 50000));
    cr_expect(ne(u64, sites_name("function 0", 10), 0), "what is there is found");
    cr_expect(ne(u32, sites_stack((uintptr_t[]){1, 2, 3}, 3), 0));
    struct sites_stats s;
    sites_stats(&s);
    cr_expect(le(u64, s.table_bytes, 10 << 20));
}

Test(sites, sums_are_those_of_the_model)
{
    static struct {
        uint32_t record;
        unsigned site;
        double bytes, blocks;
    } live[LIVE];
    static double bytes[SITES], blocks[SITES], ever[SITES];
    uint32_t number[SITES];

    for (unsigned i = 1; i < SITES; i++)
        number[i] = number_of(i);
    srand(1);
    for (int step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand() % LIVE;
        if (live[i].record) {
            cr_assert(eq(u32, sites_remove(live[i].record), number[live[i].site]));
            bytes[live[i].site] -= live[i].bytes;
            blocks[live[i].site] -= live[i].blocks;
        }
        size_t size = 16 + (size_t)rand() % 100000;
        double p = -expm1(-(double)size / 524288);
        live[i].site = 1 + (unsigned)rand() % (SITES - 1);
        live[i].record = sites_add(number[live[i].site], size, p);
        cr_assert(live[i].record > 0 && live[i].record < SITES_RECORD_END);
        live[i].bytes = (double)size / p;
        live[i].blocks = 1 / p;
        bytes[live[i].site] += live[i].bytes;
        ever[live[i].site] += live[i].bytes;
        blocks[live[i].site] += live[i].blocks;
    }
    for (unsigned i = 1; i < SITES; i++) {
        if (i % SITES_DEPTH_MAX == 0)
            continue;
        struct site s = sites_at(number[i]);
        // Each sample is rounded.
        cr_expect(fabs((double)s.live_bytes - bytes[i]) < 0.5 * LIVE);
        cr_expect(fabs((double)s.live_blocks - blocks[i]) < 2);
        cr_expect(fabs((double)s.ever_bytes - ever[i]) < 0.5 * STEPS);
    }
    struct sites_stats stats;
    uint64_t sum = 0;
    for (uint32_t n = 0; (n = sites_next(n));)
        sum += sites_at(n).live_bytes;
    sites_stats(&stats);
    cr_expect(eq(u64, stats.live_bytes, sum));
    cr_expect(eq(u64, stats.samples, STEPS));
    cr_expect(stats.live <= LIVE && stats.live > LIVE / 2);
    // Records are used again.
    cr_expect(stats.table_bytes <= 3 << 20);
    for (int i = 0; i < LIVE; i++)
        if (live[i].record)
            sites_remove(live[i].record);
    sites_stats(&stats);
    cr_expect(eq(u64, stats.live, 0));
    cr_expect(eq(u64, stats.live_bytes, 0));
}

Test(sites, each_stack_is_met_once_on_a_walk)
{
    unsigned met = 0;
    struct sites_stats stats;

    for (unsigned i = 1; i < SITES; i++)
        number_of(i);
    for (uint32_t n = 0; (n = sites_next(n)); met++)
        cr_assert(met < 2 * SITES);
    sites_stats(&stats);
    cr_expect(eq(u64, stats.stacks, met));
}

Test(sites, a_full_table_says_so)
{
    uint32_t stack = number_of(5), last = 0, count = 0;

    for (uint32_t record; (record = sites_add(stack, 16, 0.5)); count++)
        last = record;
    cr_expect(eq(u32, count, SITES_RECORD_END - 1));
    cr_expect(eq(u32, sites_remove(last), stack));
    cr_expect(eq(u32, sites_add(stack, 16, 0.5), last));
    uintptr_t frame[SITES_DEPTH_MAX] = {0};
    do
        frame[0]++;
    while (sites_stack(frame, SITES_DEPTH_MAX));
    cr_expect(frame[0] > 90000, "%lu", frame[0]);
    frame[0] = 1;
    cr_expect(ne(u32, sites_stack(frame, SITES_DEPTH_MAX), 0), "known ones are still found");
}

static void *add_and_remove(void *seed)
{
    enum { HELD = 64 };
    uint32_t held[HELD] = {0}, stack[HELD];
    unsigned state = (unsigned)(uintptr_t)seed;

    for (int i = 0; i < 200000; i++) {
        unsigned at = (state = state * 1103515245 + 12345) >> 16, k = at % HELD;
        if (held[k])
            cr_assert(eq(u32, sites_remove(held[k]), stack[k]));
        stack[k] = number_of(1 + at % 50);
        held[k] = sites_add(stack[k], at, 0.25);
    }
    for (int k = 0; k < HELD; k++)
        if (held[k])
            sites_remove(held[k]);
    return NULL;
}

Test(sites, threads_do_not_lose_a_record_or_take_one_twice)
{
    pthread_t t[4];
    struct sites_stats stats;

    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, add_and_remove, (void *)(i + 1));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    sites_stats(&stats);
    cr_expect(eq(u64, stats.live, 0));
    cr_expect(eq(u64, stats.live_bytes, 0));
    cr_expect(eq(u64, stats.samples, 800000));
    cr_expect(eq(u64, stats.stacks, 50));
}
