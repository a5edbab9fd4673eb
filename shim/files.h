// files - the mfile module put to work: settings in, threads started, the watchdog's levels passed
// on.
#ifndef TIDEPOOL_SHIM_FILES_H
#define TIDEPOOL_SHIM_FILES_H

#include <stdbool.h>

#include "shim/config.h"

// As soon as the settings are known. Nothing is started yet; true: fork handlers are needed.
bool files_init(const struct config *config);

// In the constructor.
void files_start(void);

#endif
