// verbose - what TIDEPOOL_VERBOSE says beside the lines of single features.
//
//   1   one line at the start of each program: version, limit and its source, buckets, and which
//       features of the kernel are in use
//   2   each reclaim and each change of level, with the reason
//   3   each evaluation
//
// By log.h: no allocation, no lock, errno is kept.
#ifndef TIDEPOOL_SHIM_GLUE_VERBOSE_H
#define TIDEPOOL_SHIM_GLUE_VERBOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "pressure/evaluate.h"
#include "shim/config/config.h"

// What the start of the pools found.
struct verbose_pools {
    bool up, can_drain;
    uint64_t max_bytes;
};

// From the constructor: one thread, once.
void verbose_started(const struct config *config, const struct verbose_pools *pools);

void verbose_level(const struct pressure_options *options, enum pressure_level to,
                   const struct pressure_sample *sample);

// Hooks of the watchdog: see pressure/evaluate.h.
void verbose_reclaimed(const struct pressure_reclaim *reclaim);
void verbose_evaluated(enum pressure_cause cause, const struct pressure_action *action,
                       const struct pressure_sample *sample);

#endif
