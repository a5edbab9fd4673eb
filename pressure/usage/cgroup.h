// cgroup - the memory limits of this process's cgroup and its ancestors, v1 or v2.
//
// Which hierarchy holds the memory controller is decided by the lines of /proc/self/cgroup together
// with mountinfo, never by which files exist: hybrid hosts have both. The directory is found once,
// and again when it vanishes or the process was moved, which each full reading asks for; limits and
// usage are read each time, too.
//
// Usage counts at the level whose limit it is held against: all children of a parent count against
// the parent's limit. Working set = usage - inactive_file, as the kubelet has it: the kernel drops
// file pages that were not used lately before it kills.
#ifndef TIDEPOOL_PRESSURE_USAGE_CGROUP_H
#define TIDEPOOL_PRESSURE_USAGE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pressure/policy/policy.h"
#include "pressure/usage/cgroup_find.h"

struct cgroup_source {
    struct cgroup_found at;
    bool found;
    uint64_t next_find_ms;
    size_t binding_len; // of at.memory.path: the level that bound in the last evaluation, 0 = none
    uint64_t limits_hash;  // of the limits of all levels, as of the last full reading
    bool hidden_binds;     // an ancestor that we cannot see has the lowest limit
    bool inactive_matters; // there was page cache worth subtracting
};

struct cgroup_reading {
    bool found;             // a limit below "unlimited" was read
    uint64_t limit_bytes;   // of the level with the highest working set / limit
    uint64_t raw_bytes;     // its usage
    uint64_t used_bytes;    // its working set
    uint64_t anon_bytes;    // of which anonymous; UINT64_MAX where that is not said
    uint64_t lowest_bytes;  // the lowest limit of all levels
    uint64_t own_raw_bytes; // our own cgroup's, limit or none; 0 if unknown
    uint64_t own_used_bytes;
    enum pressure_limit_kind kind;
};

void cgroup_init(struct cgroup_source *source, const char *root);

// 0 or -errno: -ENOENT where no memory controller is visible. `want_own`: own_* are needed even if
// no limit binds there (it costs one more memory.stat).
int cgroup_read(struct cgroup_source *source, bool want_own, uint64_t now_ms,
                struct cgroup_reading *out);

// Usage and working set at the level that bound in the last evaluation: one small file, mostly,
// instead of all of them.
int cgroup_read_again(struct cgroup_source *source, uint64_t *raw_bytes, uint64_t *used_bytes);

// Is the process where it was at the last full reading, and has every level the limit that it had
// then? One file, and one or two for each level: 3 us a file.
bool cgroup_unchanged(struct cgroup_source *source);

#endif
