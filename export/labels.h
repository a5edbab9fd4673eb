// labels - TIDEPOOL_LABELS: NAME=VALUE,... to what stands between a series' braces.
//
// A name is Prometheus' ([a-zA-Z_][a-zA-Z0-9_]*), not one of ours, not beginning with __, and not
// there twice. A value is taken as it is up to the next comma, or stands in double quotes, where
// \" \\ and \n are what they are in Prometheus' own text format. It is UTF-8 and not empty, for an
// empty label is none. Pure; no allocation.
#ifndef TIDEPOOL_EXPORT_LABELS_H
#define TIDEPOOL_EXPORT_LABELS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    LABELS_MAX = 16,
    LABELS_TEXT_MAX = 1024, // escaped, with the final NUL
};

// What the setting's line calls the form.
#define LABELS_FORM "NAME=VALUE,... with Prometheus label names, none of tidepool's own"

// Writes name="escaped value",... with a NUL, and returns whether the text was well-formed and fits
// LABELS_TEXT_MAX; out is undefined where not.
bool labels_parse(const char *text, char out[LABELS_TEXT_MAX]);

#endif
