// Levels, what may be kept, when the next evaluation is due, and the options.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>

#include "tests/unit/pressure_steps.h"

TestSuite(pressure, .init = fresh);

struct walk {
    unsigned used_mib[4]; // one evaluation each
    int level[4];
};

ParameterizedTestParameters(pressure, levels_with_hysteresis)
{
    static struct walk rows[] = {
        {{0, 599, 600, 749}, {0, 0, 1, 1}},
        {{750, 899, 900, 1000}, {2, 2, 3, 3}},
        // Down only five points below the watermark that was passed.
        {{900, 860, 850, 849}, {3, 3, 3, 2}},
        {{750, 720, 700, 699}, {2, 2, 2, 1}},
        {{600, 560, 550, 549}, {1, 1, 1, 0}},
        // Straight through several at once, both ways.
        {{10, 950, 10, 640}, {0, 3, 0, 1}},
        {{950, 720, 560, 549}, {3, 2, 1, 0}},
        // Over the limit, as usage is for an instant.
        {{1001, 1500, 950, 0}, {3, 3, 3, 0}},
    };
    return cr_make_param_array(struct walk, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct walk *r, pressure, levels_with_hysteresis)
{
    fresh();
    for (unsigned i = 0; i < 4; i++)
        cr_expect(eq(int, (int)step(r->used_mib[i], 1000 * i).level, r->level[i]), "%u MiB",
                  r->used_mib[i]);
}

Test(pressure, headroom_counts_beside_percentages)
{
    options.headroom_bytes = 150 * M;
    cr_expect(eq(ulong, pressure_watermark(&options, PRESSURE_CRITICAL, LIMIT), 850 * M));
    cr_expect(eq(ulong, pressure_watermark(&options, PRESSURE_HIGH, LIMIT), 700 * M));
    cr_expect(eq(ulong, pressure_watermark(&options, PRESSURE_MODERATE, LIMIT), 550 * M));
    // In a container smaller than it, it is a quarter.
    cr_expect(eq(ulong, pressure_watermark(&options, PRESSURE_CRITICAL, 100 * M), 75 * M));
    cr_expect(eq(ulong, pressure_watermark(&options, PRESSURE_MODERATE, 100 * M), 25 * M));
}

Test(pressure, without_a_limit_nothing_is_ever_short)
{
    struct pressure_sample s = {.limit_bytes = PRESSURE_UNLIMITED,
                                .headroom_bytes = PRESSURE_UNLIMITED};
    struct pressure_action a = pressure_step(&options, &state, &s, 5);
    cr_expect(eq(int, (int)a.level, PRESSURE_NORMAL));
    cr_expect(eq(int, a.reclaim, 0));
    cr_expect(eq(ulong, a.keep_bytes, PRESSURE_UNLIMITED));
    cr_expect(eq(uint, a.next_evaluation_ms, options.interval_ms));
}

// What lies beyond Critical's watermark, and what may always be kept.
#define ROOM (LIMIT / 10 + LIMIT / 64)
#define HIGH_ROOM (LIMIT * 3 / 10 + LIMIT / 64)

struct keep {
    unsigned used_mib, held_mib;
    uint64_t keep;
};

ParameterizedTestParameters(pressure, what_may_be_kept)
{
    static struct keep rows[] = {
        {0, 0, PRESSURE_UNLIMITED},
        {740, 0, PRESSURE_UNLIMITED},
        {740, 300, PRESSURE_UNLIMITED},
        // Half of what is not live is kept, and it does not matter how much of it is held; or what
        // takes usage to where High ends, if that is more.
        {760, 0, 120 * M},
        {880, 0, 60 * M},
        {780, 20, 120 * M},
        {880, 120, 120 * M},
        {760, 500, 740 * M - HIGH_ROOM},
        // At Critical the room is there for the thread that grows now.
        {904, 0, 48 * M},
        {960, 200, 240 * M - ROOM},
        // A 64th of the limit is 15.6 MiB, and as much may always be kept.
        {968, 0, 16 * M},
        {969, 0, LIMIT / 64},
        {984, 15, LIMIT / 64},
        {984, 16, 16 * M},
        {992, 0, LIMIT / 64},
        {993, 0, 0}, // 7 MiB are left, less than a 128th
        {993, 55, 0},
        {993, 300, 307 * M / 4},
        {1000, 0, 0},
    };
    return cr_make_param_array(struct keep, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct keep *r, pressure, what_may_be_kept)
{
    fresh();
    struct pressure_sample s = sample_of(r->used_mib);
    s.held_bytes = r->held_mib * M;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1000).keep_bytes, r->keep),
              "%u MiB used, %u held", r->used_mib, r->held_mib);
}

Test(pressure, a_small_container_on_a_fuller_machine_has_room)
{
    fresh();
    // 40 % of the machine, 10 % of the container: the level is the machine's, the room is not.
    struct pressure_sample s = {.limit_bytes = 24 * 1024 * M,
                                .used_bytes = 10 * 1024 * M,
                                .headroom_bytes = 45 * M,
                                .near_limit_bytes = 50 * M};
    struct pressure_action a = pressure_step(&options, &state, &s, 1000);
    cr_expect(eq(int, (int)a.level, PRESSURE_NORMAL));
    cr_expect(eq(int, a.emergency, 0));
    cr_expect(eq(int, a.reclaim, 0));
    cr_expect(eq(ulong, a.keep_bytes, PRESSURE_UNLIMITED));
    // And has none where the container is full.
    s.headroom_bytes = 256 * 1024;
    a = pressure_step(&options, &state, &s, 1100);
    cr_expect(eq(int, a.emergency, 1));
    cr_expect(eq(int, a.reclaim, 1));
}

struct full {
    unsigned live_mib;
    int level; // with as much free memory held as may be
    uint64_t held;
};

ParameterizedTestParameters(pressure, full_caches_settle)
{
    static struct full rows[] = {
        {760, PRESSURE_HIGH, 120 * M},
        {798, PRESSURE_HIGH, 101 * M},
        // Here half of what is not live is less than what Critical begins with.
        {800, PRESSURE_CRITICAL, 100 * M},
        {900, PRESSURE_CRITICAL, 50 * M},
        {960, PRESSURE_CRITICAL, 20 * M},
        {972, PRESSURE_CRITICAL, LIMIT / 64},
    };
    return cr_make_param_array(struct full, rows, sizeof rows / sizeof *rows);
}

// A program that keeps as much free as it may does not drive itself from ceiling to ceiling.
ParameterizedTest(struct full *r, pressure, full_caches_settle)
{
    fresh();
    uint64_t held = 0, now = 1000;
    struct pressure_action a = {.level = PRESSURE_NORMAL};
    for (int i = 0; i < 100; i++, now += 250) {
        struct pressure_sample s = sample_of(r->live_mib);
        s.used_bytes += held;
        s.headroom_bytes -= held;
        s.held_bytes = held;
        a = pressure_step(&options, &state, &s, now);
        held = a.keep_bytes;
        if (i >= 2)
            cr_expect(eq(ulong, held, r->held), "%u MiB live, look %d", r->live_mib, i);
    }
    cr_expect(eq(int, (int)a.level, r->level), "%u MiB live", r->live_mib);
}

Test(pressure, looks_come_sooner_as_usage_rises)
{
    cr_expect(eq(uint, step(100, 1000).next_evaluation_ms, 5000));
    // 100 MiB/s into 300 MiB: half of it lasts 1.5 s, less for the rounding.
    step(600, 2000);
    struct pressure_action a = step(700, 3000);
    cr_expect(le(uint, a.next_evaluation_ms, 1500));
    a = step(940, 3100);
    cr_expect(le(uint, a.next_evaluation_ms, 20));
    cr_expect(ge(uint, a.next_evaluation_ms, 10));
}

Test(pressure, looks_get_rare_where_nothing_moves)
{
    unsigned wait = 0;
    uint64_t now = 1000;
    for (int i = 0; i < 20; i++, now += wait)
        wait = step(950, now).next_evaluation_ms;
    cr_expect(eq(uint, wait, options.interval_ms));
}

Test(pressure, a_hoard_beside_a_small_headroom_is_watched_closely)
{
    struct pressure_sample s = sample_of(500);
    s.held_bytes = 300 * M;
    for (uint64_t now = 1000; now < 20000; now += 1000)
        pressure_step(&options, &state, &s, now);
    struct pressure_action a = pressure_step(&options, &state, &s, 20000);
    cr_expect(le(uint, a.next_evaluation_ms, 100));
    s.held_bytes = 10 * M;
    a = pressure_step(&options, &state, &s, 21000);
    cr_expect(eq(uint, a.next_evaluation_ms, 5000));
}

Test(pressure, memory_handed_out_and_not_touched_yet_is_watched_closely)
{
    cr_expect(eq(uint, step(300, 1000).next_evaluation_ms, 5000));
    struct pressure_sample s = sample_of(300);
    s.grown_bytes = 400 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1010);
    cr_expect(le(uint, a.next_evaluation_ms, 100));
    // It was not meant to be touched, then.
    for (uint64_t now = 2010; now < 8000; now += 1000)
        a = pressure_step(&options, &state, &s, now);
    cr_expect(eq(uint, a.next_evaluation_ms, 5000));
}

Test(pressure, a_ceiling_for_a_request_is_looked_at_again_soon)
{
    struct pressure_sample s = sample_of(100);
    s.pending_bytes = 700 * M;
    cr_expect(eq(uint, pressure_step(&options, &state, &s, 1000).next_evaluation_ms, 5000));
    s.pending_bytes = 850 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1010);
    cr_expect(ne(ulong, a.keep_bytes, PRESSURE_UNLIMITED));
    cr_expect(eq(uint, a.next_evaluation_ms, 100));
    a = step(100, 1110);
    cr_expect(eq(ulong, a.keep_bytes, PRESSURE_UNLIMITED));
    cr_expect(eq(uint, a.next_evaluation_ms, 5000));
}

Test(pressure, growth_between_looks_is_an_eighth_of_the_headroom)
{
    cr_expect(eq(ulong, step(920, 1000).evaluate_after_bytes, 10 * M));
    fresh();
    cr_expect(eq(ulong, step(100, 1000).evaluate_after_bytes, 64 * M));
    fresh();
    cr_expect(eq(ulong, step(999, 1000).evaluate_after_bytes, M / 2));
}

// Taken and given back again, all of it.
static uint64_t churn(uint64_t used_mib, uint64_t grown_mib, uint64_t now_ms)
{
    struct pressure_sample s = sample_of(used_mib);
    s.grown_bytes = s.shrunk_bytes = grown_mib * M;
    return pressure_step(&options, &state, &s, now_ms).evaluate_after_bytes;
}

Test(pressure, memory_that_goes_round_is_looked_at_less_often)
{
    cr_expect(eq(ulong, churn(920, 0, 1000), 10 * M));
    cr_expect(eq(ulong, churn(920, 10, 1001), 20 * M));
    cr_expect(eq(ulong, churn(920, 30, 1002), 40 * M));
    cr_expect(eq(ulong, churn(920, 70, 1003), 40 * M), "half of what is left at most");
    cr_expect(eq(ulong, churn(928, 110, 1004), 9 * M), "and it was not going round after all");
}

Test(pressure, growth_that_is_not_given_back_may_yet_be_touched)
{
    cr_expect(eq(ulong, promise(920, 0, 1000).evaluate_after_bytes, 10 * M));
    cr_expect(eq(ulong, promise(920, 16, 1001).evaluate_after_bytes, 16 * M), "a quarter of 64");
    cr_expect(eq(ulong, promise(920, 32, 1002).evaluate_after_bytes, 24 * M), "half of 48");
}

Test(pressure, past_a_soft_limit_looks_do_not_take_over)
{
    cr_expect(eq(ulong, churn(1100, 0, 1000), M / 8));
    for (int i = 0; i < 20; i++)
        reclaimed(0, 1100, 1000);
    cr_expect(eq(ulong, churn(1100, 10, 1001), 64 * M));
}

Test(pressure, time_and_transitions_are_counted)
{
    step(100, 1000);
    step(650, 3000);
    step(950, 4000);
    step(100, 4500);
    step(100, 5000);
    cr_expect(eq(ulong, state.level_ms[PRESSURE_NORMAL], 2500));
    cr_expect(eq(ulong, state.level_ms[PRESSURE_MODERATE], 1000));
    cr_expect(eq(ulong, state.level_ms[PRESSURE_HIGH], 0));
    cr_expect(eq(ulong, state.level_ms[PRESSURE_CRITICAL], 500));
    cr_expect(eq(ulong, state.transitions[PRESSURE_MODERATE], 1));
    cr_expect(eq(ulong, state.transitions[PRESSURE_CRITICAL], 1));
    cr_expect(eq(ulong, state.transitions[PRESSURE_NORMAL], 1));
}
