// Which requests are sampled: with fixed seeds, against the probabilities that the estimates use.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>

#include "pool/common/sampler.h"

#define K ((uint64_t)1024)

static struct sampler from_seed(uint64_t seed)
{
    return (struct sampler){.random = seed};
}

// Six standard deviations of a sum of `n` samples, each of `weight`, as a share of the truth.
static double tolerance(double n)
{
    return 6 / sqrt(n);
}

Test(sampler, distances_have_the_mean_that_was_asked_for)
{
    struct sampler p = from_seed(1);
    double sum = 0;
    const int n = 100000;

    for (int i = 0; i < n; i++)
        sum += sampler_distance(&p, 512 * K);
    cr_assert(fabs(sum / n / (512 * K) - 1) < tolerance(n), "mean %f", sum / n);
}

Test(sampler, distances_have_no_memory)
{
    struct sampler p = from_seed(2);
    int beyond = 0;
    const int n = 100000;

    for (int i = 0; i < n; i++)
        beyond += sampler_distance(&p, 4 * K) > 3 * 4096;
    cr_assert(fabs(beyond / (n * exp(-3)) - 1) < tolerance(n * exp(-3)));
}

static const struct sized {
    size_t size;
    uint64_t interval;
} sized[] = {{16, 4 * K}, {100, 16 * K}, {1024, 4 * K}, {64 * K, 512 * K}, {2048 * K, 512 * K}};

static void begin_at(uint64_t interval, uint64_t seed)
{
    sampler_interval_bytes = interval;
    sampler_self = from_seed(seed);
    sampler_self.left = (int64_t)sampler_distance(&sampler_self, interval);
}

// What a program sees: requests in, estimates out. The allowance is given anew each time, for the
// clock of a test is none.
static double estimate_by_bytes(const struct sized *s, int requests, int *samples)
{
    double sum = 0;
    uint64_t interval;

    begin_at(s->interval, 3);
    for (int i = 0; i < requests; i++) {
        if (!sampler_counts(s->size, &interval))
            continue;
        sum += 1 / sampler_probability(s->size, interval);
        ++*samples;
        sampler_self.overdrawn = 0;
    }
    return sum;
}

static double estimate_by_requests(const struct sized *s, int requests, int *samples)
{
    double sum = 0;

    begin_at(s->interval, 4);
    for (double at = 0;;) {
        at += (double)sampler_requests(s->size, s->interval);
        if (at > requests)
            return sum;
        sum += 1 / sampler_probability(s->size, s->interval);
        ++*samples;
    }
}

Test(sampler, estimates_are_right_when_bytes_are_counted)
{
    for (unsigned i = 0; i < sizeof sized / sizeof *sized; i++) {
        int samples = 0;
        double got = estimate_by_bytes(&sized[i], 3000000, &samples) / 3000000;
        cr_expect(fabs(got - 1) < tolerance(samples), "%zu: %f of the truth, %d samples",
                  sized[i].size, got, samples);
    }
}

Test(sampler, estimates_are_right_when_requests_are_counted)
{
    for (unsigned i = 0; i < sizeof sized / sizeof *sized; i++) {
        int samples = 0;
        double got = estimate_by_requests(&sized[i], 3000000, &samples) / 3000000;
        cr_expect(fabs(got - 1) < tolerance(samples), "%zu: %f of the truth, %d samples",
                  sized[i].size, got, samples);
    }
}

// Requests of two sizes, and others' between them that are as large as an interval now and then;
// the count rounds each up.
static double estimate_by_places(size_t size, uint64_t base, int requests, int *samples)
{
    uint64_t at = 1000, interval;
    double sum = 0;

    begin_at(base, 11);
    for (int i = 0; i < requests; i++) {
        if (i % 7 == 0)
            at += i % 21 ? 3000 : base;
        if (sampler_reaches(at, size) && sampler_reached(at, size, &interval)) {
            sum += 1 / sampler_probability(size, interval);
            ++*samples;
            sampler_self.overdrawn = 0;
        } else {
            at += (size + 127) / 128 * 128;
        }
        if (sampler_reaches(at, 500) && sampler_reached(at, 500, &interval))
            sampler_self.overdrawn = 0;
        else
            at += 512;
    }
    return sum;
}

Test(sampler, estimates_are_right_when_others_count)
{
    for (size_t size = 16; size < 1024; size += 251) {
        int samples = 0;
        double got = estimate_by_places(size, 16 * K, 3000000, &samples) / 3000000;
        cr_expect(fabs(got - 1) < tolerance(samples), "%zu: %f of the truth, %d samples", size, got,
                  samples);
    }
}

Test(sampler, the_two_ways_of_counting_agree)
{
    double low = sampler_probability(1000, 512 * K), high = sampler_probability(3000, 512 * K);
    struct sampler p = from_seed(5);
    int at_once = 0;
    const int n = 200000;

    cr_expect(fabs(1 - high - pow(1 - low, 3)) < 1e-12, "three trials are one of thrice the size");
    sampler_self = p;
    for (int i = 0; i < n; i++)
        at_once += sampler_requests(512 * K, 512 * K) == 1;
    cr_expect(fabs(at_once / (n * (1 - exp(-1))) - 1) < tolerance(n * 0.6));
}

Test(sampler, a_request_beyond_all_memory_is_never_sampled)
{
    uint64_t interval;

    begin_at(4 * K, 6);
    cr_expect(not(sampler_counts(SIZE_MAX, &interval)));
    cr_expect(not(sampler_counts((size_t)PTRDIFF_MAX, &interval)));
    cr_expect(not(sampler_counts(0, &interval)));
}

Test(sampler, the_allowance_is_kept_for_ever)
{
    struct sampler p = from_seed(7);

    for (uint32_t s = 0; s < 100 * PACE_PER_SECOND; s++)
        cr_assert(eq(uint, sampler_charge(&p, 512 * K, s * 1000 / PACE_PER_SECOND), 0), "sample %u",
                  s);
}

Test(sampler, a_thread_that_overdraws_it_samples_more_and_more_rarely)
{
    struct sampler p = from_seed(8);
    unsigned last = 0, doublings = 0;

    for (int i = 0; i < PACE_AT_ONCE + (PACE_DOUBLINGS + 1) * PACE_A_DOUBLING; i++) {
        doublings = sampler_charge(&p, 512 * K, 0);
        cr_assert(doublings >= last && doublings <= PACE_DOUBLINGS);
        cr_assert(doublings == 0 || i >= PACE_AT_ONCE);
        last = doublings;
    }
    cr_expect(eq(uint, doublings, PACE_DOUBLINGS));
    cr_expect(eq(uint, sampler_charge(&p, 512 * K, 60000), 0), "a pause makes up for it");
}

Test(sampler, who_asks_for_a_smaller_interval_may_sample_more)
{
    struct sampler p = from_seed(9);

    for (int i = 0; i < 8 * PACE_AT_ONCE; i++)
        cr_assert(sampler_charge(&p, 4 * K, 0) < PACE_DOUBLINGS / 5);
}

Test(sampler, an_estimate_stays_right_while_the_interval_is_raised)
{
    // 16 KiB requests at 64K, in a thread that overdraws at once.
    double sum = 0, squares = 0;
    int samples = 0;
    uint64_t interval;
    const int requests = 20000000;

    begin_at(64 * K, 10);
    for (int i = 0; i < requests; i++)
        if (sampler_counts(16 * K, &interval)) {
            double weight = 1 / sampler_probability(16 * K, interval);
            sum += weight;
            squares += weight * weight;
            samples++;
        }
    cr_expect(samples < requests / 40, "it was raised: %d samples", samples);
    // How far it is raised goes by the clock, so the deviation is that of the samples there were.
    cr_expect(fabs(sum - requests) < 6 * sqrt(squares), "%f of the truth, %d samples",
              sum / requests, samples);
}
