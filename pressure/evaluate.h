// evaluate - the one place where an evaluation is taken: sample, step, act.
//
// The watchdog's thread and threads that grow (direct reclaim) come through here. An evaluation has
// two phases that never overlap. Sampling runs under a lock that is held for some 50 us; threads
// that grow only try it, unless room is short. Acting begins after that lock is free, so a slow
// purge never delays the next sample. A thread that finds another at its reclaim waits for its end,
// a second at most, and samples once more. A signal handler that allocates in the middle of an
// evaluation finds it busy and goes on. Numbers for readers are atomics; reading them takes no
// lock.
#ifndef TIDEPOOL_PRESSURE_EVALUATE_H
#define TIDEPOOL_PRESSURE_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pressure/policy/policy.h"

struct pollfd;

// Descriptors that wait_on may add.
#define PRESSURE_WAIT_FDS 8

enum pressure_log {
    PRESSURE_LOG_THREAD, // the thread cannot be started
    PRESSURE_LOG_SOURCE, // no limit can be read, or what the user named cannot be listened to
    PRESSURE_LOG_FOUND,  // what the thread listens to, and what it may not
};

// A reclaim that has ended. Before the first evaluation of all, used_bytes and limit_bytes are 0.
struct pressure_reclaim {
    enum pressure_cause cause;
    enum pressure_reason why;
    enum pressure_level level;
    uint64_t keep_bytes, freed_bytes, took_us;
    uint64_t used_bytes, used_after_bytes, held_bytes, limit_bytes;
};

// What the watchdog does to the rest of the library. Any of them may be NULL.
struct pressure_hooks {
    // From any thread that may allocate, never two at once: give free memory back until at most
    // keep_bytes of it are left; returns the bytes the kernel got, roughly.
    size_t (*reclaim)(uint64_t keep_bytes, enum pressure_cause cause);

    // From any thread that may allocate, after each evaluation that changes the answer, and in a
    // child. A store: the ceiling from now on, and the limit it was made for (PRESSURE_UNLIMITED:
    // none).
    void (*set_keep)(uint64_t keep_bytes, uint64_t limit_bytes);
    // Like set_keep: whether blocks are to keep no page beyond what was asked for. At first they
    // keep them.
    void (*set_tight)(bool tight);

    // To tell what was decided, from any thread that may allocate, with no lock held: each reclaim,
    // and each evaluation.
    void (*reclaimed)(const struct pressure_reclaim *reclaim);
    void (*evaluated)(enum pressure_cause cause, const struct pressure_action *action,
                      const struct pressure_sample *sample);

    // Free bytes that a reclaim could give back now, roughly. A few loads: it runs in each
    // evaluation. Without this hook, none.
    uint64_t (*held)(void);

    // Bytes of pages that the kernel was given back, ever, by a reclaim or otherwise. A load.
    uint64_t (*returned)(void);

    // How many threads allocate. A load; without this hook, one.
    unsigned (*threads)(void);

    // Memory becomes critical: the level is Critical, or will be once what was granted is touched,
    // and the last evaluation did not find that. Before anything is given back, from any thread
    // that may allocate. What it allocates leads to no evaluation.
    void (*on_critical)(void);

    // From the thread only, holding nothing; they may take their time. The first: before it opens
    // anything; true if its table of descriptors is not the program's.
    bool (*begin)(void);
    void (*on_level)(enum pressure_level from, enum pressure_level to,
                     const struct pressure_sample *sample);
    void (*tick)(uint64_t now_ms); // every second or so: ageing, export

    // What the thread is to wait on besides its own: fills in up to PRESSURE_WAIT_FDS of `fds` and
    // returns how many. Asked before each sleep, and quick. When one has something, serve is called
    // like the hooks above, a hundred times a second at most. Neither moves the next evaluation.
    unsigned (*wait_on)(struct pollfd *fds, uint64_t now_ms);
    void (*serve)(uint64_t now_ms);

    // One line, capped by the callee. From the thread, or from watchdog_thread_poke.
    void (*log)(enum pressure_log kind, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
};

// A full reclaim on the program's request, malloc_trim() for one. Waits for one that is under way.
// Returns what the hook returned.
size_t pressure_reclaim(uint64_t keep_bytes, enum pressure_cause cause);

// Inside pressure/ only, from here on.

// Options and hooks must stay valid for ever. Nothing is read and nothing is started.
void evaluate_init(const struct pressure_options *options, const struct pressure_hooks *hooks);

// Called at the end of each evaluation, under its lock. Set it before evaluate_init().
extern void (*evaluate_on_step)(const struct pressure_action *action,
                                const struct pressure_sample *sample);

// One evaluation by this thread, with what it is about to take; false if another thread was
// evaluating for all of `wait_ms`, or this one is already. Where no descriptor is free to read
// files by, it goes by the last sample and by what was counted since. Leaves errno alone.
bool evaluate_run(enum pressure_cause cause, size_t pending_bytes, unsigned wait_ms);

// Waits up to `wait_ms` for the end of a reclaim by another thread. False where there was none.
bool evaluate_await_reclaim(unsigned wait_ms);

unsigned evaluate_next_ms(void);
const struct pressure_options *evaluate_options(void);
const struct pressure_hooks *evaluate_hooks(void);
bool evaluate_hoards(void); // is much held, and unseen by an evaluation?

// The level that the last evaluation found, and whether it must be reported: for the thread.
bool evaluate_level_changed(enum pressure_level *from, enum pressure_level *to,
                            struct pressure_sample *sample);

// Before fork(), where no lock is held and the heap not interrupted: from Moderate on free memory
// goes back. A page that lies free in two processes goes back only once both have given it back.
void evaluate_before_fork(void);
// In a child after fork: all of it starts anew, nothing is waited for.
void evaluate_child(void);

// No evaluation from now on, in this process and its children: it may be killed for opening a file.
void evaluate_forbid(void);

// What the triggers watch, as of the last evaluation. False if the lock was not free within a
// second.
struct psi_place;
bool evaluate_place(struct psi_place *place);

#endif
