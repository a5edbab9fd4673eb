// watchdog - the pressure module put to work on the pools and on jemalloc.
//
// Settings in, hooks out: what a reclaim drains and purges, what a level does to the pools'
// ceiling, what ages, and what the log says.
#ifndef TIDEPOOL_SHIM_GLUE_WATCHDOG_H
#define TIDEPOOL_SHIM_GLUE_WATCHDOG_H

#include <stdint.h>

#include "shim/config/config.h"

// `pool_max_bytes`: the ceiling of the pools while memory is plenty. Starts nothing yet.
void watchdog_init(const struct config *config, uint64_t pool_max_bytes);

#endif
