// mfile - the mapped files of a process that knows nothing of it: found, advised, given up in time.
//
//   calls    mmap and its family, interposed, and what they tell     (any thread)
//   record   the table of file mappings, and which thread may touch it
//   table    the ranges themselves; pure
//   maps     what the kernel says is mapped
//   policy   "GLOB=HINT;...": text to hints; pure
//   advise   madvise, and which of it is legal where
//   rules    the policy asked, its hints given                           (the worker, or in mmap)
//   prefetch files read ahead                                                        (the worker)
//   worker   a thread for what takes time
//   lazy     what is given up when memory is short                          (the watchdog's thread)
//
// This header starts it, and tells what came of it.
#ifndef TIDEPOOL_MFILE_MFILE_H
#define TIDEPOOL_MFILE_MFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "mfile/advise.h"
#include "mfile/parse/policy.h"

enum { MFILE_POLICY_MAX = 4000 }; // letters

struct mfile_options {
    const char *policy;         // TIDEPOOL_MFILE; NULL: none
    bool record;                // keep the table without a policy, for its figures
    bool merge;                 // KSM for large anonymous mappings
    void (*begin_worker)(void); // on the worker, before anything else; may be NULL
};

// Switches on what the options name; nothing else is recorded, started or spent. A policy that does
// not parse is none. Once, early; allocates nothing.
void mfile_init(const struct mfile_options *options);

// Does the policy ask for what a thread has to do? Or is there work, and no worker to do it?
bool mfile_wants_worker(void);
bool mfile_wants_watchdog(void);

// Unless it runs. Not in a signal handler, not from mmap().
void mfile_start_worker(void);

// Ends it and waits for that, `ms` at most; false: it is still there. None starts until
// mfile_resume() has been called once for each call of this. Rules are asked in mmap() meanwhile,
// and until the next mfile_start_worker().
bool mfile_suspend(unsigned ms);
void mfile_resume(void);

enum mfile_kind {
    MFILE_SHARED, // what is written reaches the file
    MFILE_SHARED_READONLY,
    MFILE_PRIVATE, // what is written stays with the process
    MFILE_PRIVATE_READONLY,
    MFILE_KINDS,
};

const char *mfile_kind_name(enum mfile_kind kind);

struct mfile_stats {
    struct {
        uint64_t mappings, bytes;
        uint64_t resident_bytes; // in the page cache or private; estimated from 256 samples
    } kind[MFILE_KINDS];
    // Paged out by us, and resident when tidepool_mfile_free_lazy offered them: what is offered
    // again before the kernel took it counts again.
    uint64_t lazily_freed_bytes;
    uint64_t lost_notes; // mapping calls that the table learned of later, from /proc
};

// False while there is no table. Counts of advice are advice_count() of advise.h. Reads /proc if
// what it had read is 10 s old; some 200 us, and 1 us more for each mapping. By one thread at a
// time.
bool mfile_stats(struct mfile_stats *out);

// Around fork; each a few loads while nothing is switched on.
void mfile_prefork(void);
void mfile_postfork_parent(void);
void mfile_postfork_child(void);

#endif
