// exit_report - figures for a person, at exit: TIDEPOOL_STATS=exit.
#ifndef TIDEPOOL_SHIM_GLUE_EXIT_REPORT_H
#define TIDEPOOL_SHIM_GLUE_EXIT_REPORT_H

#include <stddef.h>
#include <stdint.h>

// On stderr: a line a bucket (created, reused, reuse_ratio, free, limit), and what memory pressure
// led to, if there was an evaluation.
void report_stats(void);

// "64K", "1M", or plain bytes where they are no whole multiple.
void report_size(char *out, size_t length, uint64_t bytes);

#endif
