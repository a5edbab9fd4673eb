#include "pool/common/sampler.h"

#include <assert.h>
#include <time.h>

#include "pool/common/maths.h"
#include "shim/base.h"
#include "shim/clock.h"

_Thread_local struct sampler sampler_self;
uint64_t sampler_interval_bytes;

// splitmix64.
static uint64_t draw(struct sampler *p)
{
    uint64_t z = p->random += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void seed(struct sampler *p)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    p->random =
        (uintptr_t)p ^ (uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec ^ (uint64_t)getpid() << 16;
}

double sampler_distance(struct sampler *p, uint64_t interval)
{
    // In (0, 1].
    double u = ((double)(draw(p) >> 11) + 1) * 0x1p-53;

    return -maths_log(u) * (double)interval;
}

double sampler_probability(size_t size, uint64_t interval)
{
    return -maths_expm1(-(double)size / (double)interval);
}

#define CHARGE_AT_ONCE ((uint32_t)PACE_AT_ONCE << PACE_CHARGE_LG)
#define CHARGE_A_DOUBLING ((uint32_t)PACE_A_DOUBLING << PACE_CHARGE_LG)
#define CHARGE_MAX (CHARGE_AT_ONCE + PACE_DOUBLINGS * CHARGE_A_DOUBLING)
#define PAID_PER_MS (((uint32_t)PACE_PER_SECOND << PACE_CHARGE_LG) / 1000)

// One at an interval below the usual one costs so much less.
static uint32_t charge_of(uint64_t base)
{
    uint64_t times = base ? PACE_USUAL_BYTES / base : 0;

    return (1u << PACE_CHARGE_LG) / (times > 1 ? (uint32_t)times * PACE_MORE_WHEN_ASKED : 1);
}

static uint32_t overdrawn_at(const struct sampler *p, uint32_t ms)
{
    uint64_t paid = (uint64_t)(ms - p->paid_ms) * PAID_PER_MS;

    return paid < p->overdrawn ? p->overdrawn - (uint32_t)paid : 0;
}

static unsigned doublings_of(uint32_t overdrawn)
{
    return overdrawn > CHARGE_AT_ONCE ? (overdrawn - CHARGE_AT_ONCE) / CHARGE_A_DOUBLING : 0;
}

unsigned sampler_charge(struct sampler *p, uint64_t base, uint32_t ms)
{
    uint32_t overdrawn = overdrawn_at(p, ms) + charge_of(base);

    static_assert(CHARGE_MAX < 1 << 24, "struct sampler holds it");
    if (overdrawn > CHARGE_MAX)
        overdrawn = CHARGE_MAX;
    p->overdrawn = overdrawn & 0xffffff;
    p->paid_ms = ms;
    return doublings_of(overdrawn);
}

// No request meets an interval that no shift would fit.
static uint64_t interval_of(unsigned doublings)
{
    return sampler_interval_bytes >> 40 ? sampler_interval_bytes
                                        : sampler_interval_bytes << doublings;
}

// The distance in whole bytes: a request of `size` is hit when it is smaller than that.
static int64_t whole(double distance)
{
    return distance < 0x1p62 ? (int64_t)distance : (int64_t)1 << 62;
}

// The first distance is drawn when the first request asks for it.
static void begin(struct sampler *p)
{
    seed(p);
    p->paid_ms = (uint32_t)clock_ms(CLOCK_MONOTONIC_COARSE);
    p->left = whole(sampler_distance(p, sampler_interval_bytes));
}

bool sampler_passed(size_t size, uint64_t *interval)
{
    struct sampler *p = &sampler_self;

    if (unlikely(!p->random)) {
        begin(p);
        p->left -= (int64_t)size;
        if (p->left >= 0)
            return false;
    }
    *interval = interval_of(p->doublings);
    p->doublings =
        sampler_charge(p, sampler_interval_bytes, (uint32_t)clock_ms(CLOCK_MONOTONIC_COARSE)) &
        0xff;
    p->left = whole(sampler_distance(p, interval_of(p->doublings)));
    return true;
}

static void place_hit(struct sampler *p, uint64_t from)
{
    const uint64_t never = ((uint64_t)1 << 56) - 1;
    unsigned doublings = doublings_of(overdrawn_at(p, (uint32_t)clock_ms(CLOCK_MONOTONIC_COARSE)));
    double distance = sampler_distance(p, interval_of(doublings));

    p->hit_doublings = doublings & 0xff;
    // The bytes that are missed before it.
    p->hit = distance < (double)(never - from) ? from + (uint64_t)distance + 1 : never;
}

bool sampler_reached(uint64_t from, size_t size, uint64_t *interval)
{
    struct sampler *p = &sampler_self;

    if (unlikely(!p->random))
        begin(p);
    if (p->hit <= from)
        place_hit(p, from);
    if (!sampler_reaches(from, size))
        return false;
    *interval = interval_of(p->hit_doublings);
    sampler_charge(p, sampler_interval_bytes, (uint32_t)clock_ms(CLOCK_MONOTONIC_COARSE));
    // Drawn when the next request comes, for this one may be served without being counted there.
    p->hit = 0;
    return true;
}

bool sampler_counts(size_t size, uint64_t *interval)
{
    // No address space holds more, and the difference stays within 64 bits.
    if (size > PTRDIFF_MAX / 2)
        return false;
    return sampler_spend(size) && sampler_passed(size, interval);
}

uint64_t sampler_first_interval(void)
{
    if (!sampler_self.random)
        begin(&sampler_self);
    return sampler_interval_bytes;
}

uint64_t sampler_next_interval(void)
{
    return interval_of(sampler_charge(&sampler_self, sampler_interval_bytes,
                                      (uint32_t)clock_ms(CLOCK_MONOTONIC_COARSE)));
}

uint64_t sampler_interval_now(void)
{
    return interval_of(
        doublings_of(overdrawn_at(&sampler_self, (uint32_t)clock_ms(CLOCK_MONOTONIC_COARSE))));
}

uint64_t sampler_requests(size_t size, uint64_t interval)
{
    return (uint64_t)whole(sampler_distance(&sampler_self, interval) / (double)size) + 1;
}

void sampler_child(void)
{
    if (sampler_self.random)
        seed(&sampler_self);
}
