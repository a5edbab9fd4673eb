// sample - one evaluation's numbers, from all sources: which limit is closest, and what counts
// against it.
//
//   limit                 usage held against it
//   cgroup levels         working set there, or our anonymous RSS if that is more
//   TIDEPOOL_LIMIT        our anonymous RSS; the working set too if the cgroup has a limit anyway,
//                         or if only the cgroup counts
//   RAM                   MemTotal - MemAvailable: the neighbours are the whole machine
//   RLIMIT_AS, _DATA      our anonymous RSS, which neither lets grow further
#ifndef TIDEPOOL_PRESSURE_USAGE_SAMPLE_H
#define TIDEPOOL_PRESSURE_USAGE_SAMPLE_H

#include "pressure/policy/policy.h"
#include "pressure/usage/cgroup.h"
#include "pressure/usage/proc.h"

struct sample_source {
    struct cgroup_source cgroup;
    struct proc_ram ram;
    uint64_t ram_ms; // when it was read
    bool has_ram, ram_binds;
    struct pressure_sample full; // the last one that all files were read for, and when
    uint64_t full_ms, unchanged_ms;
    // Then: anonymous memory of others, and all that was not ours, page cache and the kernel's too.
    uint64_t others_bytes, not_ours_bytes;
    bool may_shorten; // the cgroup's limit is both the closest and the one with least headroom
};

void sample_init(struct sample_source *source, const struct pressure_options *options);

// Fills what the kernel knows. All files are read at least four times a second, and whenever the
// process was moved or a limit was set, which is checked after 2 ms. Otherwise only the usage that
// counts is read (80, 10 and 10 us on the machine where this was written). Fields that the caller
// knows are left at zero. Without /proc there is no limit, and memory is never short.
// False where a file could not be opened because no descriptor is free: then *out is no sample.
bool sample_take(struct sample_source *source, const struct pressure_options *options,
                 uint64_t now_ms, struct pressure_sample *out);

#endif
