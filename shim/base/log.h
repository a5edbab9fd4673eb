// log - one line to the user, from anywhere: before constructors, inside malloc, in signal
// handlers.
//
// Formats into a stack buffer and writes once. Allocates nothing, takes no lock, is no cancellation
// point, keeps errno, and cannot kill (a broken pipe) or block (a full one) the program. A line
// goes only to what descriptor 2 was at the start. A program that closed it and opened a file of
// its own there gets nothing of ours into that file.
#ifndef TIDEPOOL_SHIM_BASE_LOG_H
#define TIDEPOOL_SHIM_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

// Each kind is capped by itself, so that a flood of one does not silence another.
enum log_kind {
    LOG_CONFIG,   // a setting that was not taken
    LOG_FEATURE,  // a feature that stepped aside
    LOG_MISUSE,   // double or invalid free; waits up to a second for a full pipe
    LOG_PRESSURE, // a change of level
    LOG_STATS,    // figures that were asked for; never capped
    LOG_INFO,     // TIDEPOOL_VERBOSE=1: what was found and chosen at the start
    LOG_DETAIL,   // TIDEPOOL_VERBOSE=2: each reclaim and change of level, and why; never capped
    LOG_DEBUG,    // TIDEPOOL_VERBOSE=3: each evaluation; never capped
    LOG_KINDS
};

enum {
    LOG_LINE_MAX = 512, // a longer line is cut, with "..." at its end
    LOG_CAP = 16,       // lines of a kind before "more of this kind are not shown"
};

// Remembers what descriptor 2 is now; call it in the constructor. Lines before it are written, too.
void log_start(void);

// 0 to 3; -1: misuse and figures only.
void log_set_verbose(int verbose);

// Adds "tidepool: " and the newline. Understands %s %c %d %i %u %x %p %% and the lengths l ll z,
// and nothing else: no width, no floating point.
void log_line(enum log_kind kind, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// The formatter alone: writes at most size bytes with the final NUL, returns the length written. A
// text that does not fit ends in "...".
size_t log_format(char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
size_t log_vformat(char *out, size_t size, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

// Gives the calling thread, one of ours, a table of descriptors of its own with nothing in it but a
// copy of 2. Before Linux 5.9 it goes on sharing the program's. What it opens takes no number that
// the program may count on, and is no child's to inherit. True if it has such a table.
bool log_own_descriptors(void);

// To be called by that thread now and then. It closes its copy once the program has closed its own
// or put something else there, so that a reader of the other end is not kept waiting.
void log_drop_copy(void);

#endif
