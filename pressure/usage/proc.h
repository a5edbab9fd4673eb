// proc - what /proc and the process's own limits say: RSS, RAM, rlimits.
#ifndef TIDEPOOL_PRESSURE_USAGE_PROC_H
#define TIDEPOOL_PRESSURE_USAGE_PROC_H

#include <stdint.h>

struct proc_rss {
    uint64_t rss_bytes;  // all resident pages
    uint64_t anon_bytes; // without file pages, which the kernel takes back by itself
};

struct proc_ram {
    uint64_t total_bytes;
    uint64_t available_bytes; // the kernel's estimate; total if it gives none
};

// 0 or -errno. `root` goes before /proc; "" but in tests. ulimit -m binds nothing on Linux, so it
// is not read.
int proc_read_rss(const char *root, struct proc_rss *out);
int proc_read_ram(const char *root, struct proc_ram *out);

// The smaller of RLIMIT_AS and RLIMIT_DATA, UINT64_MAX if neither is set.
uint64_t proc_rlimit(void);

#endif
