// prom - reads Prometheus' text, as a process tells it: one sample after the other.
//
// The text comes from outside. Lines that are no samples are passed over, labels too long are cut,
// and nothing is believed of the bytes in a label.
#ifndef TIDEPOOL_SHIM_CLI_TOP_PROM_H
#define TIDEPOOL_SHIM_CLI_TOP_PROM_H

#include <stdbool.h>
#include <stddef.h>

struct prom_sample {
    const char *name; // not terminated
    size_t name_length;
    const char *labels; // behind the "{", or at a NUL
    double value;       // finite or infinite, never a NaN
};

// The next sample at *text, which moves past it; false at the end.
bool prom_next(const char **text, struct prom_sample *sample);

bool prom_is(const struct prom_sample *sample, const char *name);

// The value of a label, without its escapes; "" where it is missing, and then false.
bool prom_label(const struct prom_sample *sample, const char *label, char *out, size_t size);

#endif
