// report - figures for a person, at exit: TIDEPOOL_STATS=exit.
#ifndef TIDEPOOL_SHIM_REPORT_H
#define TIDEPOOL_SHIM_REPORT_H

// One line a bucket on stderr: created, reused, reuse_ratio, free, limit.
void report_stats(void);

#endif
