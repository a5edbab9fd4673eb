// stats_snapshot - the numbers that pressure_stats shows.
//
// Evaluations write them, under the evaluation's lock, into a plain struct. It is published word by
// word with a version around it, so readers take no lock. They try a few times for numbers of one
// instant, and then take numbers that are right each by itself. What the thread counts beside
// evaluations is atomic.
#ifndef TIDEPOOL_PRESSURE_STATS_SNAPSHOT_H
#define TIDEPOOL_PRESSURE_STATS_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "pressure/policy/policy.h"

#define PRESSURE_HISTOGRAM 12

// Upper bounds of the reclaim durations counted in reclaim_histogram, in us; the last is infinite.
extern const uint32_t pressure_histogram_us[PRESSURE_HISTOGRAM];

struct pressure_stats {
    struct pressure_sample sample; // the last one taken; all zero before the first
    enum pressure_level level;
    uint64_t evaluations,
        late_evaluations;        // late: the thread was over half an interval behind its plan
    uint64_t direct_evaluations; // of evaluations, those taken by threads that grew
    uint64_t level_ms[PRESSURE_LEVELS];    // time spent in each, the current one up to now
    uint64_t transitions[PRESSURE_LEVELS]; // into each
    uint64_t reclaims[PRESSURE_CAUSES];
    uint64_t freed_bytes[PRESSURE_CAUSES];
    uint64_t refused;         // answers "no" of promise_begin
    uint64_t reclaim_unix_ms; // wall clock of the last reclaim, 0 = never
    uint64_t reclaim_us;      // time spent in all of them
    uint64_t reclaim_histogram[PRESSURE_HISTOGRAM];
    uint64_t sample_us; // what the last sample cost
    uint64_t keep_bytes;
    bool thread; // the watchdog's thread is alive
    unsigned accelerators;
};

// From any thread, without a lock. Each field is right; they may be of different instants.
void pressure_stats(struct pressure_stats *out);

// Inside pressure/ only, from here on.

// The snapshot that is published next. Under the evaluation's lock, like all of these but the last
// three.
struct pressure_stats *snapshot_stats(void);

void snapshot_post(const struct pressure_state *state, const struct pressure_sample *sample);
void snapshot_count_reclaim(enum pressure_cause cause, uint64_t freed_bytes, uint64_t took_us,
                            uint64_t unix_ms);
void snapshot_publish(void);
void snapshot_clear(void);

// From anywhere.
void snapshot_late(void);
void snapshot_refused(void);
void snapshot_thread(bool alive, unsigned accelerators);

#endif
