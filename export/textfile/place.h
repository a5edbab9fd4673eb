// place - the names in the folder of text files, and the line by which a file names its process.
//
//   tidepool-PID.prom          of a process in the host's own pid namespace
//   tidepool-PID-PIDNS.prom    of one in another: every container has its process 1
//   ... .tmp                   while it is written
//
// The first line of a file is a comment for node_exporter; the processes that tidy up go by it:
//
//   # tidepool pid=42 start=81234 boot=UUID pidns=4026531836 interval_ms=15000 keep=0
#ifndef TIDEPOOL_EXPORT_TEXTFILE_PLACE_H
#define TIDEPOOL_EXPORT_TEXTFILE_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/identity.h"

enum {
    PLACE_NAME_MAX = 64,
    PLACE_LINE_MAX = 256,
};

// "tidepool-42.prom", or with `temporary` "tidepool-42.prom.tmp".
void place_name(char out[PLACE_NAME_MAX], const struct identity *who, bool temporary);

struct place_name {
    int pid;
    uint64_t pidns; // 0: not in the name
    bool temporary;
};

// False for every name that place_name() does not write.
bool place_parse_name(const char *name, struct place_name *out);

struct place_line {
    struct identity who;
    uint64_t interval_ms;
    bool keep; // of a process that has ended and wanted it to stay
};

void place_write_line(struct out *o, const struct place_line *line);

// `text` is the start of a file; false where it does not begin with such a line.
bool place_parse_line(const char *text, size_t length, struct place_line *out);

#endif
