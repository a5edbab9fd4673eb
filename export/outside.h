// outside - what a process holds in anonymous memory that did not come from malloc: its runtime's
// own heap (V8's, Java's, python's arenas), what it maps itself, stacks of threads.
#ifndef TIDEPOOL_EXPORT_OUTSIDE_H
#define TIDEPOOL_EXPORT_OUTSIDE_H

#include <stdint.h>

// All resident anonymous memory without the heap's, which is told apart by pieces of 2 MiB. Where
// 1 GiB is resident or 8 GiB are mapped, some of the pieces stand for all. 0 where /proc cannot be
// read, the heap's pieces are not known (TIDEPOOL_PRIVATE=off), or 512 GiB and more are mapped, of
// which the few pieces asked would tell nothing. A millisecond or two. Any thread, and two at once
// get the last answer; allocates nothing.
uint64_t outside_bytes(void);

#endif
