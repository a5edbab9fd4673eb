// report - figures for a person, at exit: TIDEPOOL_STATS=exit.
#ifndef TIDEPOOL_SHIM_REPORT_H
#define TIDEPOOL_SHIM_REPORT_H

// On stderr: a line a bucket (created, reused, reuse_ratio, free, limit), and what memory pressure
// led to, if it was ever looked at.
void report_stats(void);

#endif
