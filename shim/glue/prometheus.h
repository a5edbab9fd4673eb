// prometheus - the export module put to work: settings in, misuse counted, the life of the process.
//
// Files are written by the watchdog's thread, which starts with the program here. An idle server
// may never again pass a place where a thread can be made. The thread rests at first, and what has
// ended within an interval has no file.
#ifndef TIDEPOOL_SHIM_GLUE_PROMETHEUS_H
#define TIDEPOOL_SHIM_GLUE_PROMETHEUS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/config/config.h"

// Once, with the settings, while the library starts, after watchdog_init(). Asks for the thread,
// and reads nothing yet.
void exporter_init(const struct config *config);

// From the watchdog's thread. Before the first reader of metrics: not done at the start, where a
// child of fork() would pay for it.
void exporter_metrics(void);

void exporter_tick(uint64_t ms);
void exporter_level_changed(void);

// At exit, after the watchdog's thread was stopped.
void exporter_exit(void);

// Around fork(): outside of the watchdog's and the pools' own handlers.
void exporter_prefork(void);
void exporter_parent(void);
void exporter_child(void);

#endif
