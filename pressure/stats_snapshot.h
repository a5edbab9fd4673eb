// stats_snapshot - the numbers that pressure_stats shows.
//
// Evaluations write them, under the evaluation's lock, into a plain struct. It is published word by
// word with a version around it, so readers take no lock. They try a few times for numbers of one
// instant, and then take numbers that are right each by itself. What the thread counts beside
// evaluations is atomic.
#ifndef TIDEPOOL_PRESSURE_STATS_SNAPSHOT_H
#define TIDEPOOL_PRESSURE_STATS_SNAPSHOT_H

#include "pressure/evaluate.h"

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
