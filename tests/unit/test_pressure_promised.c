// What was handed out and not touched yet: how much of it the step believes, and for how long.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/unit/pressure_steps.h"

TestSuite(pressure_promised, .init = fresh);

Test(pressure_promised, what_was_handed_out_counts_as_used_before_it_is_touched)
{
    promise(850, 0, 1000);
    reclaimed(100, 850, 1000);
    struct pressure_action a = promise(850, 40, 1001);
    cr_expect(eq(int, (int)a.level, PRESSURE_HIGH), "it is not there yet");
    cr_expect(eq(ulong, a.left_bytes, 110 * M));
    cr_expect(eq(ulong, a.keep_bytes, 55 * M));
    a = promise(850, 60, 1002);
    cr_expect(eq(ulong, a.left_bytes, 90 * M));
    cr_expect(eq(ulong, a.keep_bytes, 45 * M));
    // Touched: it is used now, and promised no more.
    a = promise(890, 60, 1003);
    cr_expect(eq(ulong, a.left_bytes, 90 * M));
}

// However often evaluations come: promises are what makes them frequent.
Test(pressure_promised, promises_that_are_not_kept_are_forgotten)
{
    promise(800, 0, 1000);
    reclaimed(100, 800, 1000);
    cr_expect(eq(ulong, promise(800, 80, 1025).left_bytes, 120 * M));
    for (uint64_t now = 1050; now < 9000; now += 25)
        promise(800, 80, now);
    cr_expect(ge(ulong, promise(800, 80, 9000).left_bytes, 199 * M));
}

Test(pressure_promised, half_of_them_each_second)
{
    promise(800, 0, 1000);
    reclaimed(100, 800, 1000);
    for (uint64_t now = 1025; now < 2000; now += 25)
        cr_expect(eq(ulong, promise(800, 80, now).left_bytes, 120 * M));
    cr_expect(eq(ulong, promise(800, 80, 2000).left_bytes, 160 * M));
}

Test(pressure_promised, of_promises_half_the_headroom_is_believed)
{
    promise(920, 0, 1000);
    reclaimed(100, 920, 1000);
    struct pressure_sample s = sample_of(920);
    s.held_bytes = 16 * M;
    s.grown_bytes = 500 * M;
    struct pressure_action a = pressure_step(&options, &state, &s, 1001);
    cr_expect(eq(ulong, a.left_bytes, 40 * M));
    cr_expect(eq(int, a.emergency, 0));
    cr_expect(eq(int, a.reclaim, 0));
    // 62 left, half of it believed taken: less than a 32nd of the limit.
    s = sample_of(938);
    s.held_bytes = 16 * M;
    s.grown_bytes = 518 * M;
    a = pressure_step(&options, &state, &s, 1002);
    cr_expect(eq(ulong, a.left_bytes, 31 * M));
    cr_expect(eq(int, a.reclaim, 1));
}

Test(pressure_promised, pages_that_went_back_meanwhile_had_been_touched)
{
    promise(850, 0, 1000);
    reclaimed(100, 850, 1000);
    // 40 MiB were taken and touched, and 40 MiB that were there before went back.
    struct pressure_sample s = sample_of(850);
    s.grown_bytes = s.returned_bytes = 40 * M;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1001).left_bytes, 150 * M));
    // More went back than was taken: nothing is promised, and no less than that.
    s = sample_of(800);
    s.grown_bytes = 50 * M;
    s.returned_bytes = 100 * M;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1002).left_bytes, 200 * M));
    s.grown_bytes = 70 * M;
    cr_expect(eq(ulong, pressure_step(&options, &state, &s, 1003).left_bytes, 180 * M));
}
