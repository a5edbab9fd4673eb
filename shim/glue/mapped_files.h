// mapped_files - the mfile module put to work: settings in, threads started, the watchdog's levels
// passed on.
#ifndef TIDEPOOL_SHIM_GLUE_MAPPED_FILES_H
#define TIDEPOOL_SHIM_GLUE_MAPPED_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "pressure/policy/policy.h"
#include "shim/config/config.h"

// As soon as the settings are known. Nothing is started yet; true: fork handlers are needed.
bool files_init(const struct config *config);

// In the constructor.
void files_start(void);

// By the watchdog's thread, every second and when the level changes. `over_bytes`: what is used
// above High.
void files_tick(enum pressure_level level, uint64_t over_bytes);

#endif
