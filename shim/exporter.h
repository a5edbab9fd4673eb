// exporter - the export module put to work: settings in, misuse counted, the life of the process.
#ifndef TIDEPOOL_SHIM_EXPORTER_H
#define TIDEPOOL_SHIM_EXPORTER_H

#include "shim/config.h"

// Once, with the settings, while the library starts. Starts nothing and reads nothing yet.
void exporter_init(const struct config *config);

// In a child of fork(), after the pools' and the watchdog's own.
void exporter_child(void);

#endif
