// watchdog_thread - the library's one thread, for when the program does not grow: a neighbour in
// the cgroup does, a limit was lowered, or free memory has grown old.
//
// It is named "tidepool", blocks all signals and allocates nothing. It keeps no descriptor below
// 512; where its hooks give it a table of its own, it has none of the program's. It exists only
// once there is something to watch: growth past evaluate_min_bytes or an eighth of the limit, or a
// ceiling (pressure_action.keep_bytes) to be lifted again. Creating a thread allocates, so growth
// only asks for it. watchdog_thread_poke(), called where no lock is held and malloc may be entered,
// makes it. Never in a free: libc makes some with the lock that pthread_create() takes.
#ifndef TIDEPOOL_PRESSURE_WATCHDOG_THREAD_H
#define TIDEPOOL_PRESSURE_WATCHDOG_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "pressure/evaluate.h"
#include "shim/base.h"

// Notes which process owns this memory. As early as can be: a child that borrows it may be the
// first to grow.
void watchdog_thread_at_load(void);
bool watchdog_thread_owns_memory(void); // false: a child by vfork or clone(CLONE_VM)

// Once, before any growth is counted. Options and hooks must stay valid; nothing is started, no
// file is read.
void watchdog_thread_init(const struct pressure_options *options,
                          const struct pressure_hooks *hooks);

// This, and the two that want it, do nothing before watchdog_thread_init().
extern _Atomic bool watchdog_thread_wanted;
void watchdog_thread_start(void);

// Call it at any safe point that is passed now and then: after a refill, at the end of a large
// allocation. A load and a branch unless the thread is wanted and missing.
static inline void watchdog_thread_poke(void)
{
    if (unlikely(atomic_load_explicit(&watchdog_thread_wanted, memory_order_relaxed)))
        watchdog_thread_start();
}

// The next evaluation is due now: something happened that growth does not tell.
void watchdog_thread_wake(void);

// There is something to watch, or something else for tick() to do: the next watchdog_thread_poke
// starts the thread.
void watchdog_thread_want(void);

// Like watchdog_thread_want(), for what has time. Unless it is wanted sooner, the thread rests for
// 100 ms before it does anything. A program that ends by then saves some 3 ms of work.
void watchdog_thread_want_later(void);

// In the child of a fork, which has no thread, no levels and no counts. It starts its own once it
// has grown enough itself. No lock is taken before: the child's copy of our data may be in any
// state.
void watchdog_thread_child(void);

// Keeps the thread out of its hooks until watchdog_thread_release(), for a moment: around a child
// that is made without fork(). False where a hook did not end within `ms`: then nothing is to be
// released. Any thread, signal handlers too; errno is not left alone.
bool watchdog_thread_hold(unsigned ms);
void watchdog_thread_release(void);

// At exit: no hook runs once this has returned, unless one has been running for 200 ms. For good.
void watchdog_thread_stop(void);

// Like watchdog_thread_stop(), and returns when the thread has ended, or after half a second.
void watchdog_thread_end(void);

// Ends the thread, if there is one, and lets none start until watchdog_thread_resume() has been
// called once for each call of this. False: it is still there after `ms`. From any thread but it;
// growing threads go on evaluating meanwhile.
bool watchdog_thread_suspend(unsigned ms);

// What was ended starts again at the next watchdog_thread_poke().
void watchdog_thread_resume(void);

// No thread starts any more, in this process and its children, and growing threads do not evaluate.
// Between watchdog_thread_suspend() and watchdog_thread_resume().
void watchdog_thread_ban(void);
bool watchdog_thread_is_banned(void);

bool watchdog_thread_is_self(void); // the caller is the thread

#endif
