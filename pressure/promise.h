// promise - TIDEPOOL_ON_LIMIT=enomem: a request is granted only if the limit has room for all of
// it.
//
// The kernel charges a page when it is touched, so what was handed out and not touched yet shows in
// none of its counts. With this option no such memory exists: the caller touches a block before it
// hands it out (shim/lowmem/promised.h). Until then the block's bytes are counted in `begun` and
// not in `kept`.
//
//   begun    bytes granted, ever; a thread adds its own before it takes any page
//   kept     of those, bytes that are touched by now, or were given up
//   granted  how far `begun` may go: what was kept when the last evaluation read the usage, and the
//   room
//            that it saw
//
// So threads that take memory together cannot take more than there is. The reserve is for what is
// charged without a promise: page tables, stacks, kernel objects of the program, small objects.
//
// Other processes under the limit may grow between an evaluation and the touching. Where there are
// any, an eighth of the room is granted at a time, for 2 ms. The reserve is then twice as large,
// and a large block is given up half way if its room is gone. Four processes that fill a limit
// together live; of eight on two processors some were killed. Pages that a forked child copies are
// not covered.
#ifndef TIDEPOOL_PRESSURE_PROMISE_H
#define TIDEPOOL_PRESSURE_PROMISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pressure/policy/policy.h"

extern bool promise_is_on;

// Counts `bytes` as begun. False, with nothing counted: the limit has no room for them, after a
// reclaim if that could help. Requests below the option's size are never refused. Any thread that
// may reclaim.
bool promise_begin(size_t bytes);

// Would promise_begin() grant them? Nothing is counted, but a refusal.
bool promise_may_begin(size_t bytes);

// `bytes` of what this thread has begun are touched, or will not be.
void promise_keep(size_t bytes);

// Is there still room for what is begun and not kept? May evaluate.
bool promise_holds(void);

// Pages that were taken without a promise. No evaluation, for jemalloc's locks may be held.
void promise_note(size_t bytes);

// Inside pressure/ only. Also after fork.
void promise_init(const struct pressure_options *options);
// An evaluation's result, under its lock.
void promise_evaluated(const struct pressure_sample *sample);

#endif
