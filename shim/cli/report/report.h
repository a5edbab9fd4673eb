// report - `tidepool report`: what held the memory, by a heap profile.
//
// exit_report.c reads the options; each form of output is a file: sites.c the table,
// folded.c folded stacks and JSON, flame.c the page.
#ifndef TIDEPOOL_SHIM_CLI_REPORT_REPORT_H
#define TIDEPOOL_SHIM_CLI_REPORT_REPORT_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "shim/cli/profile/stacks.h"
#include "shim/cli/report/rows.h"

enum { OUTSIDE_MIN = 1 << 20 }; // of bytes outside malloc: every program has a little

struct report {
    struct stacks stacks;
    const char *const *names; // of the files
    size_t name_count;
    const char *old_name;                      // of the older profile, where two are compared
    uint64_t interval_bytes, samples, dropped; // how the figures were come by; 0: unknown
    uint64_t outside_bytes;                    // resident, and not from malloc
    enum rows_by by;
    size_t top; // rows to show; 0: all
};

// The subcommand: its arguments, ended by NULL. Returns the exit code.
int launcher_report(char **args);

// What a profile is called above its table: its file's name.
static inline const char *report_title(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : basename(path);
}

void report_top(const struct report *r, FILE *f);
void report_json(const struct report *r, FILE *f);

// "a;b;c BYTES", outermost first; when comparing, "a;b;c BEFORE NOW".
void report_folded(const struct report *r, FILE *f);

// A page that needs nothing but itself.
void report_flame(const struct report *r, FILE *f);

#endif
