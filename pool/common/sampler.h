// sampler - which requests are sampled.
//
// Every byte that is asked for is a trial of its own, a hit once in `interval` bytes on average. A
// request is sampled when one of its bytes is a hit. So a request of `size` bytes is sampled with
// probability 1 - exp(-size / interval), whatever came before it, and 1 / that is how many such
// requests a sample stands for. The distance to the next hit is drawn once and counted down in
// bytes, or in requests where all are of one size (thread_cache.h). Where another module counts a
// thread's bytes already, the hit is a place on that count.
//
// A thread that allocates gigabytes a second would do little else than sample. Each has an
// allowance, and its interval doubles with each step by which that is overdrawn. A sample remembers
// the interval that it was drawn with, so estimates stay unbiased, only coarser. What a program
// loads when it starts is taken in a burst, and is what it holds: so there is much to spend at
// once. Beyond that, with n samples to a step, a burst of any size is known to 0.58 / sqrt(n).
//
// All of it belongs to the calling thread.
#ifndef TIDEPOOL_POOL_COMMON_SAMPLER_H
#define TIDEPOOL_POOL_COMMON_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What a thread may sample for ever, and beyond that at once, at an interval of PACE_USUAL_BYTES. A
// smaller interval raises the limit as much as it is smaller, and then more. A sample takes 2 us
// with a few frames, 4 to 8 us with 20 of them, and 10 where caches have forgotten the tables. This
// rate is 0.25 % of a thread's time. 1024 at once are 512 MiB, which take many times as long to be
// touched.
#define PACE_PER_SECOND 250
#define PACE_AT_ONCE 1024 // before the interval doubles, and after that many more doubles again:
#define PACE_A_DOUBLING 16
#define PACE_CHARGE_LG 12 // what is charged for one, by powers of two
#define PACE_MORE_WHEN_ASKED 4
#define PACE_USUAL_BYTES ((uint64_t)512 << 10)
#define PACE_DOUBLINGS 20 // a pair of 1 MiB, untouched, takes 7 ns: 150 TB a second
#define PACE_LEAST_BYTES ((uint64_t)4 << 10)

// 32 bytes, because a preloaded library has little thread-local space.
struct sampler {
    int64_t left;            // bytes until the next hit; below 0: it has just been passed
    uint64_t random;         // 0 before the thread's first request
    uint32_t paid_ms;        // wraps
    uint32_t overdrawn : 24; // 4096ths of usual samples beyond the allowance, at `paid_ms`
    uint32_t doublings : 8;  // of the interval that `left` was drawn with
    uint64_t hit : 56;       // the next one's place on a count of others'
    uint64_t hit_doublings : 8;
};

extern _Thread_local struct sampler sampler_self __attribute__((tls_model("initial-exec")));

// The mean that was asked for, at least PACE_LEAST_BYTES; 0 is off. Set once, before the first
// thread asks.
extern uint64_t sampler_interval_bytes;

static inline bool sampler_is_on(void)
{
    return sampler_interval_bytes != 0;
}

// Lowers `left` by a request; true when that passed a hit: sampler_passed() says what comes of it.
// One instruction and its sign, in the way of every small request.
static inline bool sampler_spend(size_t size)
{
#if defined(__x86_64__) && !defined(TIDEPOOL_DEBUG)
    bool below;

    __asm__("subq %2, %0" : "+m"(sampler_self.left), "=@ccs"(below) : "r"(size));
    return below;
#else
    return (sampler_self.left -= (int64_t)size) < 0;
#endif
}

// Counts a request; true when it is to be sampled, and then *interval is what it was drawn with.
bool sampler_counts(size_t size, uint64_t *interval);

// Like sampler_counts(), where `left` has been lowered by `size` already and is below 0.
bool sampler_passed(size_t size, uint64_t *interval);

// Where a thread's requests lie one after another on another module's count, and others between
// them that are counted apart. Does a request for `size` bytes from `from` on reach the next hit,
// or is it behind already?
static inline bool sampler_reaches(uint64_t from, size_t size)
{
    return sampler_self.hit <= from + size;
}

// Then: is it to be sampled? A hit that came before it was another's, and a new one is drawn.
bool sampler_reached(uint64_t from, size_t size, uint64_t *interval);

// Where another module counts requests: the interval to draw with before the first sample, and,
// charging the thread for one, after each.
uint64_t sampler_first_interval(void);
uint64_t sampler_next_interval(void);

// What it would be now, uncharged. A distance may be drawn anew at any time: what is left of one is
// distributed like a whole one.
uint64_t sampler_interval_now(void);

// After how many requests of `size` bytes the next one is to be sampled, at least 1.
uint64_t sampler_requests(size_t size, uint64_t interval);

// How probably such a request is sampled.
double sampler_probability(size_t size, uint64_t interval);

// In the child of a fork: it does not repeat what its parent draws.
void sampler_child(void);

// Inside this file and its tests: pure.

// Charges a sample at `now_ms` and returns how often to double the interval for the next distance.
unsigned sampler_charge(struct sampler *p, uint64_t base, uint32_t now_ms);

// An exponentially distributed distance in bytes with that mean.
double sampler_distance(struct sampler *p, uint64_t interval);

#endif
