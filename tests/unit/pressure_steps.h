// pressure_steps - the step alone, for its tests: numbers and an explicit clock in, level and
// action out. A limit of 1000 MiB makes percentages easy to read.
#ifndef TIDEPOOL_TESTS_UNIT_PRESSURE_STEPS_H
#define TIDEPOOL_TESTS_UNIT_PRESSURE_STEPS_H

#include "pressure/policy/policy.h"

#define M (1ull << 20)
#define LIMIT (1000 * M)

static struct pressure_options options;
static struct pressure_state state;

static inline void fresh(void)
{
    options = pressure_defaults;
    state = (struct pressure_state){0};
}

static inline struct pressure_sample sample_of(uint64_t used_mib)
{
    return (struct pressure_sample){
        .limit_bytes = LIMIT,
        .used_bytes = used_mib * M,
        .raw_bytes = used_mib * M,
        .headroom_bytes = used_mib < 1000 ? LIMIT - used_mib * M : 0,
        .kind = PRESSURE_LIMIT_CGROUP_MAX,
    };
}

static inline struct pressure_action step(uint64_t used_mib, uint64_t now_ms)
{
    struct pressure_sample s = sample_of(used_mib);
    return pressure_step(&options, &state, &s, now_ms);
}

static inline void reclaimed(uint64_t freed_mib, uint64_t used_after_mib, uint64_t now_ms)
{
    struct pressure_sample s = sample_of(used_after_mib);
    pressure_reclaimed(&state, &s, freed_mib * M, 1000, now_ms);
}

// An evaluation, by when that much had been handed out, ever.
static inline struct pressure_action promise(uint64_t used_mib, uint64_t grown_mib, uint64_t now_ms)
{
    struct pressure_sample s = sample_of(used_mib);
    s.grown_bytes = grown_mib * M;
    return pressure_step(&options, &state, &s, now_ms);
}

#endif
