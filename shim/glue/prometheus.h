// prometheus - the export module put to work: settings in, misuse counted, the life of the process,
// and every number over the control channel ("stats"), for tidepool top.
//
// Files are written by the watchdog's thread, which starts with the program here. An idle server
// may never again pass a place where a thread can be made. The thread rests at first. What has
// ended within an interval has no file, unless it is to be kept.
#ifndef TIDEPOOL_SHIM_GLUE_PROMETHEUS_H
#define TIDEPOOL_SHIM_GLUE_PROMETHEUS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/config/config.h"

// Once, with the settings, while the library starts, after watchdog_init(). Asks for the thread,
// and reads nothing yet.
void exporter_init(const struct config *config);

void exporter_tick(uint64_t ms);
void exporter_level_changed(void);

// At exit, after the watchdog's thread was stopped.
void exporter_exit(void);

// In the child of a fork; before it and in the parent, textfile.h's own functions do.
void exporter_child(void);

#endif
