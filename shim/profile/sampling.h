// sampling - requests that are sampled (pool/common/sampler.h): how they are served, and
// remembered.
//
// A sampled request of a pooled size gets the block that it would have got anyway, marked. One of
// another size gets a run of its own in the pools' region. So free() finds it without asking about
// any other block: its note is the number of its record (export/heap/sites.h), and after it was
// freed, of the stack that allocated it. Where no run can be had, or there is no room to remember
// it, the request is served like any other and counted as dropped.
#ifndef TIDEPOOL_SHIM_PROFILE_SAMPLING_H
#define TIDEPOOL_SHIM_PROFILE_SAMPLING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/config/config.h"

// Once, with the pools up. Where sampling is off, nothing changes.
void sampling_start(const struct config *config);

// Small requests and what is larger than the pools serve: called by heap.c where sampling is on.
// NULL: not sampled, serve it as usual. `alignment` is a power of two.
void *sampling_try(size_t alignment, size_t size, bool zero);

// Is a request of a pooled size, which the lists did not serve, to be sampled, and how probable was
// that? Then its block is marked, if it has one. Where the pools do not serve the size after all,
// it gets a run instead; NULL: not sampled. `asked` is what the program asked for, which may be a
// little less.
bool sampling_due(size_t size, double *probability);
void sampling_mark(void *ptr, size_t asked, double probability);
void *sampling_run(size_t size, size_t asked, bool zero, double probability);

// Frees what is sampled, a block or a run.
void sampling_free(void *ptr);

// The stack that allocated what was sampled at `ptr`, and is free; NULL and depth 0 where unknown.
const uintptr_t *sampling_allocated_at(const void *ptr, unsigned *depth);

struct sampling_stats {
    uint64_t interval_bytes; // 0: off
    uint64_t samples, dropped, live, stacks;
    uint64_t live_bytes;  // the estimate of all that is live
    uint64_t table_bytes; // of memory for all this
};
void sampling_stats(struct sampling_stats *out);

// From the watchdog's thread, while it still shares the program's descriptors.
void sampling_begin(void);

// In the child of a fork.
void sampling_child(void);

#endif
