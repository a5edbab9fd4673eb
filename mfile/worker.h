// worker - the one thread of this module: what takes time is done there, and not in the program's
// calls.
//
// It is named "tidepool-files", blocks all signals, allocates nothing, and is there only once
// worker_start() was called; the child of a fork has none until then. Once woken it checks again
// after 1, 2, 4 and 8 ms before it sleeps, so that a thousand calls in a row pay for one wake-up.
#ifndef TIDEPOOL_MFILE_WORKER_H
#define TIDEPOOL_MFILE_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "shim/base.h"

struct worker_jobs {
    void (*begin)(void); // once, on the thread, before anything else; may be NULL
    bool (*work)(void);  // some of it; false: there was none, or none that can be done now
    bool (*waits)(void); // is there any? Sees whatever came before worker_poke()
};

// Unless it runs. Not in a signal handler, not from mmap().
void worker_start(const struct worker_jobs *jobs);
bool worker_runs(void);

// Ends the thread, if there is one, and lets none start until worker_resume() has been called once
// for each call of this. False: it is still there after `ms`. Any thread but the worker.
bool worker_suspend(unsigned ms);
void worker_resume(void); // starts none

extern _Atomic bool worker_sleeps;
void worker_wake(void);

// Something waits. Anywhere; a load while the worker is awake.
static inline void worker_poke(void)
{
    if (unlikely(atomic_load(&worker_sleeps)))
        worker_wake();
}

void worker_postfork_child(void);

#endif
