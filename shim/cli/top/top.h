// top - `tidepool top`: what all processes under tidepool hold, refreshing.
//
//   top.c        the command line and the loop
//   read.c   asks the processes: rows
//   sort.c   the columns, by which rows are sorted and chosen
//   show.c   rows as a table
//   record.c rows as JSON and as CSV
//   term.c       the terminal, and its restoration
//
// Names and labels come from the processes, so that nothing in them reaches a terminal or a JSON
// text but what is harmless there.
#ifndef TIDEPOOL_SHIM_CLI_TOP_TOP_H
#define TIDEPOOL_SHIM_CLI_TOP_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "shim/cli/process/control.h"
#include "shim/cli/process/procs.h"

enum { TOP_CAUSES = 3 };
extern const char *const top_causes[TOP_CAUSES];
extern const char *const top_levels[4];

// A process. Numbers that it did not tell are NAN.
struct top_row {
    pid_t pid;
    uint64_t start;
    char comm[32], service[64];
    enum control_state state;
    char why[64];          // where it was not asked, or did not answer
    double resident_bytes; // by /proc, whether it answers or not
    double level, usage_ratio, usage_bytes, limit_bytes; // limit: infinite where there is none
    double outside_bytes;                                // mapped past malloc
    double allocated_bytes; // jemalloc's blocks, those of the pools among them, live or free
    double malloc_bytes;    // what the program holds of malloc, in blocks of all sizes
    double live_bytes, pooled_bytes, slack_bytes, allocations, reused, reuse_ratio;
    double reclaims, reclaims_by[TOP_CAUSES], reclaims_per_s;
};

struct top_filter {
    const char *pids;    // "1,2,3", or NULL
    const char *service; // a glob, or NULL
};

struct top {
    struct procs procs;
    struct top_row *row;
    size_t count;
    uint64_t read_ms;       // when they were asked
    struct top_row *before; // the reading before, from which rates are made
    size_t before_count;
    uint64_t before_ms;
};

// Asks all processes that pass the filter. False where /proc is not to be had.
bool top_read(struct top *top, const struct top_filter *filter);
void top_free(struct top *top);

// Columns, in the order of the table.
struct top_column {
    const char *name; // for --sort
    char key;         // on the keyboard
    bool ascending;   // the way it is sorted unless it is turned round
};
enum top_sort {
    TOP_PROCESS,
    TOP_PID,
    TOP_LEVEL,
    TOP_USAGE,
    TOP_LIVE,
    TOP_POOLED,
    TOP_SLACK,
    TOP_REUSE,
    TOP_RECLAIMS,
    TOP_RATE,
    TOP_COLUMNS
};
extern const struct top_column top_columns[TOP_COLUMNS];

// The column of that name; -1 where there is none.
int top_column_find(const char *name);

// Rows without an answer come last.
void top_sort(struct top *top, enum top_sort by, bool turned);

// One line each, no newline, at most `width` characters of printable ASCII, and colours where
// asked. The return value is `out`.
char *top_summary(const struct top *top, char *out, size_t size, unsigned width);
char *top_heading(enum top_sort by, bool colours, char *out, size_t size, unsigned width);
char *top_line(const struct top_row *row, bool colours, char *out, size_t size, unsigned width);

// What is shown where there are no rows, and the lines of the help: NULL past the last one.
const char *top_nothing(const struct top_filter *filter);
const char *top_help(unsigned line);

// One JSON object and a newline.
void top_json(const struct top *top, FILE *to);

// A line for each process. All lines of a reading bear its time.
void top_csv_heading(FILE *to);
void top_csv(const struct top *top, FILE *to);

// The subcommand; `args` are the words behind its name.
int launcher_top(char **args);

#endif
