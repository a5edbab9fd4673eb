// When the step asks for a reclaim, and when freed pages go back at once.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>

#include "tests/unit/pressure_steps.h"

TestSuite(pressure_reclaim, .init = fresh);

static bool reclaims_with(uint64_t used_mib, uint64_t held_mib, uint64_t cpu_us, uint64_t now_ms)
{
    struct pressure_sample s = sample_of(used_mib);
    s.held_bytes = held_mib * M;
    s.cpu_us = cpu_us;
    return pressure_step(&options, &state, &s, now_ms).reclaim;
}

Test(pressure_reclaim, the_first_comes_at_once_and_then_high_cools_down)
{
    cr_expect(eq(int, step(600, 0).reclaim, 0));
    cr_expect(eq(int, step(760, 1000).reclaim, 1));
    reclaimed(100, 760, 1000);
    cr_expect(eq(int, step(770, 2000).reclaim, 0));
    cr_expect(eq(int, step(770, 10999).reclaim, 0));
    cr_expect(eq(int, step(770, 11000).reclaim, 1));
}

Test(pressure_reclaim, the_first_comes_at_once_at_critical_too)
{
    cr_expect(eq(int, step(100, 0).reclaim, 0));
    cr_expect(eq(int, step(910, 1).reclaim, 1));
}

// Each crossing of a mark would be a reclaim otherwise.
Test(pressure_reclaim, entering_a_level_is_no_reason)
{
    cr_expect(eq(int, step(760, 1000).reclaim, 1));
    reclaimed(100, 760, 1000);
    for (uint64_t now = 1100; now < 10900; now += 200) {
        cr_expect(eq(int, step(600, now).reclaim, 0));
        struct pressure_action a = step(760, now + 100);
        cr_expect(eq(int, a.level > a.from, 1));
        cr_expect(eq(int, a.reclaim, 0));
    }
    reclaimed(100, 760, 11000);
    for (uint64_t now = 11100; now < 12000; now += 200) {
        cr_expect(eq(int, step(760, now).reclaim, 0));
        struct pressure_action a = step(910, now + 50);
        cr_expect(eq(int, a.level > a.from, 1));
        cr_expect(eq(int, a.reclaim, 0));
    }
    step(760, 12000);
    cr_expect(eq(int, step(910, 12001).reclaim, 1), "the clock of Critical, not the cooldown");
}

Test(pressure_reclaim, critical_lives_on_what_it_freed_until_a_32nd_is_left)
{
    step(910, 1000);
    reclaimed(100, 810, 1000);
    cr_expect(eq(int, reclaims_with(910, 100, 0, 1010), 0), "90 MiB are left");
    cr_expect(eq(int, reclaims_with(968, 100, 0, 1500), 0), "32 MiB");
    cr_expect(eq(int, reclaims_with(969, 100, 0, 1600), 1), "31 MiB, less than 31.25");
}

Test(pressure_reclaim, a_crowd_reclaims_while_more_is_left)
{
    struct pressure_sample s = sample_of(910);

    step(910, 0);
    reclaimed(100, 910, 1);
    s.held_bytes = 200 * M;
    s.threads = 8;
    cr_expect_not(pressure_step(&options, &state, &s, 100).reclaim);
    // Half a MiB for each, but no more than a quarter of what is not live.
    s.threads = 200;
    cr_expect_not(pressure_step(&options, &state, &s, 200).reclaim);
    s = sample_of(940);
    s.held_bytes = 200 * M;
    s.threads = 8;
    cr_expect_not(pressure_step(&options, &state, &s, 300).reclaim);
    s.threads = 200;
    cr_expect(pressure_step(&options, &state, &s, 400).reclaim);
}

Test(pressure_reclaim, critical_lets_be_what_may_be_kept)
{
    step(910, 1000);
    reclaimed(100, 810, 1000);
    cr_expect(eq(int, reclaims_with(969, 31, 0, 1500), 0), "half of 31 left and 31 held");
    cr_expect(eq(int, reclaims_with(969, 32, 0, 1600), 1));
    cr_expect(eq(int, reclaims_with(969, 15, 0, 1999), 0));
    cr_expect(eq(int, reclaims_with(969, 15, 0, 2000), 1), "the slow clock goes on");
}

Test(pressure_reclaim, critical_reclaims_by_a_slow_clock)
{
    step(910, 1000);
    reclaimed(100, 910, 1000);
    cr_expect(eq(int, step(910, 1999).reclaim, 0));
    cr_expect(eq(int, step(910, 2000).reclaim, 1));
}

Test(pressure_reclaim, what_is_pending_is_not_left)
{
    step(910, 1000);
    reclaimed(100, 910, 1000);
    struct pressure_sample s = sample_of(910);
    s.held_bytes = 100 * M;
    s.pending_bytes = 58 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1010);
    cr_expect(eq(ulong, a.left_bytes, 32 * M));
    cr_expect(eq(int, a.reclaim, 0));
    s.pending_bytes = 59 * M;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1020).reclaim, 1));
}

Test(pressure_reclaim, futile_reclaims_back_off_until_room_runs_out)
{
    unsigned asked = 0;
    for (uint64_t now = 1000; now < 61000; now += 100)
        if (step(950, now).reclaim) {
            asked++;
            reclaimed(0, 950, now);
        }
    // At once, then after 2, 4, 8, 16 and 32 s.
    cr_expect(le(uint, asked, 6));
    cr_expect(ge(uint, asked, 4));
    cr_expect(eq(int, reclaims_with(970, 30, 0, 61000), 0));
    cr_expect(eq(int, reclaims_with(970, 31, 0, 61001), 1));
}

static void reclaimed_after_faults(uint64_t faulted_mib, bool alone)
{
    struct pressure_sample s = sample_of(970);
    s.alone = alone;
    s.faulted_bytes = faulted_mib * M;
    pressure_reclaimed(&state, &s, 100 * M, 1000, 1000);
}

// Usage stays, and nothing was faulted in: those 100 MiB were never touched.
Test(pressure_reclaim, what_was_never_touched_goes_back_in_vain)
{
    step(970, 1000);
    for (int i = 0; i < 10; i++)
        reclaimed_after_faults(2000, true);
    cr_expect(ge(uint, state.futile, 3));
    cr_expect(eq(int, reclaims_with(970, 100, 0, 1030), 0));
}

// Usage stays because as much is taken again; others' usage, and huge pages, prove nothing.
Test(pressure_reclaim, what_was_touched_does_not)
{
    step(970, 1000);
    for (unsigned i = 1; i < 10; i++)
        reclaimed_after_faults(2000 + i * 100, true);
    cr_expect(eq(uint, state.futile, 0));
    for (int i = 0; i < 10; i++)
        reclaimed_after_faults(3000, false);
    cr_expect(eq(uint, state.futile, 0));
    for (int i = 0; i < 10; i++)
        reclaimed_after_faults(900, true);
    cr_expect(eq(uint, state.futile, 0));
}

// One of 1 ms that could not give back what is held, in vain.
static void reclaimed_in_vain(unsigned used_mib, unsigned held_mib, uint64_t now)
{
    struct pressure_sample s = sample_of(used_mib);
    s.held_bytes = held_mib * M;
    pressure_reclaimed(&state, &s, 0, 1000, now);
}

// It is worth another after 8 ms, six are worth it after 256.
Test(pressure_reclaim, futile_reclaims_back_off_even_there)
{
    step(970, 1000);
    reclaimed_in_vain(970, 100, 1000);
    cr_expect(eq(int, reclaims_with(970, 100, 0, 1007), 0));
    cr_expect(eq(int, reclaims_with(970, 100, 0, 1008), 1));
    for (int i = 0; i < 5; i++)
        reclaimed_in_vain(970, 100, 1008);
    cr_expect(eq(int, reclaims_with(970, 100, 0, 1263), 0));
    cr_expect(eq(int, reclaims_with(970, 100, 0, 1264), 1));
}

// There was nothing to give back. What is freed after it goes back at once, from 1 % of the limit,
// where it is more than was found.
Test(pressure_reclaim, a_reclaim_that_found_nothing_puts_off_none)
{
    step(970, 1000);
    for (int i = 0; i < 6; i++)
        reclaimed_in_vain(970, 0, 1000);
    cr_expect(eq(int, reclaims_with(970, 15, 0, 1001), 0), "half of 30 left and 15 held may stay");
    cr_expect(eq(int, reclaims_with(970, 31, 0, 1002), 1));
    reclaimed_in_vain(970, 31, 1003);
    cr_expect(eq(int, reclaims_with(970, 61, 0, 1004), 0), "30 MiB more than were found");
    cr_expect(eq(int, reclaims_with(970, 62, 0, 1005), 1), "31 MiB more");
}

Test(pressure_reclaim, an_emergency_takes_what_is_held_whatever_the_back_off)
{
    step(995, 1000);
    for (int i = 0; i < 6; i++)
        reclaimed(0, 995, 1000);
    struct pressure_sample s = sample_of(995);
    s.held_bytes = M / 4 - 1;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1001).reclaim, 0));
    s.held_bytes = M / 4;
    struct pressure_action a = pressure_step(&options, &state, &s, 1001);
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(eq(ulong, a.keep_bytes, 0));
    reclaimed_in_vain(990, 100, 1001);
    s = sample_of(990);
    s.held_bytes = 100 * M;
    a = pressure_step(&options, &state, &s, 1002);
    cr_expect(eq(int, a.emergency, 0));
    cr_expect(eq(int, a.reclaim, 0));
}

Test(pressure_reclaim, futile_reclaims_at_high_back_off_until_usage_moves)
{
    cr_expect(eq(int, step(760, 1000).reclaim, 1));
    reclaimed(0, 760, 1000);
    cr_expect(eq(int, step(760, 11000).reclaim, 0), "twice the cooldown, after one in vain");
    cr_expect(eq(int, step(860, 11001).reclaim, 1), "a quarter of the headroom further on");
    cr_expect(eq(int, step(760, 21000).reclaim, 1));
}

struct heap {
    unsigned used_mib;
    unsigned held_mib; // 9 of which the last reclaim left, as it was told to
    unsigned cpu_us;   // in the 100 ms between the evaluations
    int reclaim;
};

ParameterizedTestParameters(pressure_reclaim, what_was_let_go_of_goes_back)
{
    static struct heap rows[] = {
        // All at once, a quarter of the limit, by a process that runs.
        {950, 258, 50000, 0},
        {950, 259, 50000, 1},
        {800, 258, 50000, 0},
        {800, 259, 50000, 1},
        // Idle: less than a 25th of the time and 1 ms, and a 64th of the limit (15.6 MiB), which
        // includes what the last reclaim left on purpose.
        {950, 16, 5000, 0},
        {950, 16, 4999, 1},
        {950, 15, 4999, 0},
        {800, 16, 5000, 0},
        {800, 16, 4999, 1},
        {800, 15, 4999, 0},
        // Memory is not short: all keep what they have.
        {700, 600, 50000, 0},
        {690, 600, 0, 0},
    };
    return cr_make_param_array(struct heap, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct heap *r, pressure_reclaim, what_was_let_go_of_goes_back)
{
    fresh();
    reclaims_with(r->used_mib, 9, 1000000, 1000);
    struct pressure_sample after = sample_of(r->used_mib);
    after.held_bytes = 9 * M;
    pressure_reclaimed(&state, &after, 20 * M, 1000, 1000);
    cr_expect(
        eq(int, reclaims_with(r->used_mib, r->held_mib, 1000000 + r->cpu_us, 1100), r->reclaim),
        "%u MiB used, %u held, %u us run", r->used_mib, r->held_mib, r->cpu_us);
}

// A process that frees and takes at the same time will want all of it again in a moment.
Test(pressure_reclaim, what_was_let_go_of_stays_while_anything_is_taken)
{
    struct pressure_sample s = sample_of(800);
    s.cpu_us = 1000000;
    pressure_step(&options, &state, &s, 1000);
    reclaimed(20, 800, 1000);
    s.cpu_us += 50000;
    s.held_bytes = 300 * M;
    s.grown_bytes = 4096;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1100).reclaim, 0), "grown");
    s.cpu_us += 50000;
    s.pending_bytes = 4096;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1200).reclaim, 0), "about to grow");
    s.cpu_us += 50000;
    s.pending_bytes = 0;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1300).reclaim, 1), "not since then");
    // And so where it hardly runs.
    s.held_bytes = 20 * M;
    s.grown_bytes += 4096;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1400).reclaim, 0));
    s.pending_bytes = 4096;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1500).reclaim, 0));
    s.pending_bytes = 0;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1600).reclaim, 1));
}

// Where there is no neighbour none waits for it, and the process may want it again.
Test(pressure_reclaim, who_is_alone_keeps_what_was_let_go_of_for_a_while)
{
    struct pressure_sample s = sample_of(800);
    s.alone = true;
    s.cpu_us = 1000000;
    s.grown_bytes = 4096;
    pressure_step(&options, &state, &s, 1000);
    reclaimed(20, 800, 1000);
    s.held_bytes = 300 * M;
    s.grown_bytes += 4096;
    for (uint64_t now = 1100; now < 1600; now += 100) {
        s.cpu_us += 50000;
        cr_expect(eq(int, pressure_step(&options, &state, &s, now).reclaim, 0), "%lu ms", now);
    }
    s.cpu_us += 50000;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1600).reclaim, 1));
    reclaimed(20, 800, 1600);
    // Unless a neighbour comes, or it hardly runs.
    s.grown_bytes += 4096;
    s.cpu_us += 50000;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1700).reclaim, 0));
    s.cpu_us += 50000;
    s.alone = false;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1800).reclaim, 1));
    s.alone = true;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1900).reclaim, 1));
}

// No neighbour waits for it; but only what a reclaim takes, for the process may run again.
Test(pressure_reclaim, an_idle_process_keeps_nothing)
{
    struct pressure_sample s = sample_of(800);
    s.cpu_us = 1000000;
    pressure_step(&options, &state, &s, 1000);
    reclaimed(20, 800, 1000);
    struct pressure_action a = pressure_step(&options, &state, &s, 1100);
    cr_expect(eq(int, a.reclaim, 0));
    cr_expect(eq(ulong, a.keep_bytes, 100 * M));
    s.held_bytes = 100 * M;
    a = pressure_step(&options, &state, &s, 1200);
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(eq(ulong, a.keep_bytes, 0));
}

static bool an_idle_one_reclaims(unsigned held_mib, unsigned not_ours_mib)
{
    struct pressure_sample s = sample_of(800);

    fresh();
    s.cpu_us = 1000000;
    s.not_ours_bytes = not_ours_mib * M;
    pressure_step(&options, &state, &s, 1000);
    reclaimed(20, 800, 1000);
    s.held_bytes = held_mib * M;
    return pressure_step(&options, &state, &s, 1100).reclaim;
}

// What each of them keeps adds up: a 256th of the limit, where one alone may keep a 64th.
Test(pressure_reclaim, neighbours_keep_less)
{
    struct pressure_sample s = sample_of(992);

    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1000).keep_bytes, LIMIT / 64));
    s.not_ours_bytes = 500 * M;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1100).keep_bytes, 4 * M));
    cr_expect_not(an_idle_one_reclaims(4, 0));
    cr_expect_not(an_idle_one_reclaims(3, 500));
    cr_expect(an_idle_one_reclaims(4, 500));
}

// What it keeps of that would cost a copy of each page that it writes to.
Test(pressure_reclaim, a_child_keeps_nothing_that_its_parent_may_hold)
{
    struct pressure_sample s = sample_of(990);
    s.held_bytes = 100 * M;
    uint64_t keep = pressure_step(&options, &state, &s, 1000).keep_bytes;
    cr_expect(gt(ulong, keep, 1 * M));
    reclaimed(20, 990, 1000);
    s.shared_bytes = 99 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1100);
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(eq(ulong, a.keep_bytes, 1 * M));
}

// Taken again, it grows, and no counter shows that.
Test(pressure_reclaim, a_child_gives_back_at_moderate_what_it_freed)
{
    struct pressure_sample s = sample_of(650);
    s.held_bytes = 100 * M;
    s.shared_bytes = 31 * M;
    cr_expect(eq(int, pressure_step(&options, &state, &s, 1000).reclaim, 0));
    s.shared_bytes = 32 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1100);
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(eq(ulong, a.keep_bytes, 68 * M));
}

Test(pressure_reclaim, where_processor_time_is_unknown_nobody_is_idle)
{
    reclaims_with(800, 0, 0, 1000);
    reclaimed(20, 800, 1000);
    cr_expect(eq(int, reclaims_with(800, 100, 0, 1100), 0));
}

Test(pressure_reclaim, the_last_megabytes_are_an_emergency)
{
    step(950, 1000);
    reclaimed(20, 950, 1000);
    struct pressure_sample s = sample_of(995);
    s.grown_bytes = 1 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1010);
    cr_expect(eq(int, a.emergency, 1));
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(eq(ulong, a.keep_bytes, 0));
    cr_expect(le(ulong, a.evaluate_after_bytes, 2 * M + M / 2));
}

Test(pressure_reclaim, a_request_counts_before_it_is_granted)
{
    struct pressure_sample s = sample_of(500);
    s.pending_bytes = 450 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1000);
    cr_expect(eq(int, (int)a.level, PRESSURE_NORMAL), "it is not there yet");
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(eq(ulong, a.keep_bytes, 25 * M), "half of what it leaves");
    // With it the level would be High, which is entered once it is there.
    s.pending_bytes = 300 * M;
    a = pressure_step(&options, &state, &s, 1001);
    cr_expect(eq(int, a.reclaim, 0));
    cr_expect(eq(ulong, a.keep_bytes, PRESSURE_UNLIMITED));
}

Test(pressure_reclaim, an_emergency_leaves_a_quarter_where_there_is_one)
{
    step(950, 1000);
    reclaimed(20, 950, 1000);
    struct pressure_sample s = sample_of(995);
    s.held_bytes = 195 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1010);
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(eq(ulong, a.keep_bytes, 50 * M));
    s.held_bytes = 45 * M;
    a = pressure_step(&options, &state, &s, 1020);
    cr_expect(eq(ulong, a.keep_bytes, 0), "that would be less than a reclaim is worth");
}

Test(pressure_reclaim, a_crowd_leaves_less_in_reserve)
{
    struct pressure_sample s = sample_of(800);
    s.threads = 8;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1000).keep_bytes, 100 * M),
              "16 MiB are less than half of what is not live");
    s.threads = 60;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1001).keep_bytes, 80 * M));
    s.threads = 1000;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1002).keep_bytes, 50 * M));
    s = sample_of(995);
    s.held_bytes = 195 * M;
    s.threads = 128;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1003).keep_bytes, 0));
}

static bool is_tight(uint64_t used_mib, uint64_t held_mib, uint64_t now_ms)
{
    struct pressure_sample s = sample_of(used_mib);
    s.held_bytes = held_mib * M;
    return pressure_step(&options, &state, &s, now_ms).tight;
}

// Free memory that we hold is room just as what the kernel has.
Test(pressure_reclaim, it_is_tight_once_live_data_leaves_a_16th)
{
    cr_expect(eq(int, is_tight(990, 53, 0), 0), "63 MiB");
    cr_expect(eq(int, is_tight(990, 52, 1), 1), "62, less than 62.5");
    cr_expect(eq(int, is_tight(400, 0, 2), 1), "a peak comes again");
    cr_expect(eq(int, is_tight(990, 52, 5000), 1));
    cr_expect(eq(int, is_tight(400, 0, 14999), 1));
    cr_expect(eq(int, is_tight(400, 0, 15000), 0), "the cooldown has gone by");
}

// An evaluation, with all that a rush depends on.
static struct pressure_action rush(uint64_t used_mib, uint64_t held_mib, uint64_t grown_mib,
                                   uint64_t now_ms)
{
    struct pressure_sample s = sample_of(used_mib);
    s.held_bytes = held_mib * M;
    s.grown_bytes = grown_mib * M;
    return pressure_step(&options, &state, &s, now_ms);
}

// 10 MiB in 10 ms, which is 60 in 60, and 51 are left.
Test(pressure_reclaim, a_rush_past_us_takes_what_it_will_miss)
{
    options.moderate_percent = 97;
    options.high_percent = 98;
    options.critical_percent = 99;
    rush(939, 200, 0, 1000);
    struct pressure_action a = rush(949, 200, 0, 1010);
    cr_expect(eq(int, a.level, PRESSURE_NORMAL));
    cr_expect(eq(int, a.reclaim, 1));
    cr_expect(ge(ulong, a.keep_bytes, 191 * M));
    cr_expect(le(ulong, a.keep_bytes, 192 * M));
}

Test(pressure_reclaim, a_rush_with_room_left_takes_nothing)
{
    rush(500, 200, 0, 1000);
    cr_expect_not(rush(510, 200, 0, 1010).reclaim, "60 MiB in 60 ms, and 490 are left");
    cr_expect_not(rush(740, 200, 0, 1240).reclaim, "and 260");
}

Test(pressure_reclaim, growth_of_ours_is_no_rush)
{
    rush(600, 200, 0, 1000);
    cr_expect_not(rush(749, 200, 149, 1020).reclaim, "handed out just now");
    fresh();
    rush(500, 200, 0, 1000);
    rush(500, 200, 249, 1010);
    cr_expect_not(rush(749, 200, 249, 1030).reclaim, "handed out earlier");
    fresh();
    rush(500, 200, 0, 1000);
    cr_expect(rush(749, 200, 0, 1030).reclaim, "by others, too");
}

// Looks of threads that grow come more often than the clock of a rate can tell.
Test(pressure_reclaim, a_rush_shows_in_looks_close_together)
{
    options.high_percent = 98;
    options.critical_percent = 99;
    bool seen = false;
    for (unsigned i = 0; i < 10; i++)
        seen |= rush(930 + 2 * i, 200, 0, 1000 + i).reclaim;
    cr_expect(seen);
}

Test(pressure_reclaim, a_rush_wants_something_worth_having)
{
    options.high_percent = 98;
    options.critical_percent = 99;
    rush(600, 0, 0, 1000);
    cr_expect_not(rush(749, 0, 0, 1020).reclaim, "of nothing");
    cr_expect(rush(749, 1, 0, 1021).reclaim);
    reclaimed(0, 749, 1021);
    cr_expect_not(rush(749, 1, 0, 1022).reclaim, "it came to nothing a moment ago");
    cr_expect(rush(850, 1, 0, 1029).reclaim);
}

// There the holes of trimmed blocks fill, which is not counted as handed out.
Test(pressure_reclaim, where_it_is_tight_nothing_is_a_rush)
{
    rush(990, 5, 0, 0);
    rush(600, 5, 0, 1000);
    cr_expect_not(rush(749, 5, 0, 1020).reclaim);
    fresh();
    rush(600, 5, 0, 1000);
    cr_expect(rush(749, 5, 0, 1020).reclaim);
}
