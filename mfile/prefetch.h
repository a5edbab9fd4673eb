// prefetch - files read ahead beside the program, by a thread that does nothing else.
//
// The kernel reads no more for one MADV_WILLNEED than its read-ahead window, often 128 KiB, so a
// whole file takes thousands of calls, and together as long as the disk takes. The caller of mmap()
// therefore only leaves a job. Jobs are ranges of addresses; when a mapping is gone before its job,
// the kernel says so, or reads something else ahead: harmless.
//
// There is no thread until prefetch_thread() was called, and none in the child of a fork. Without
// one the caller does the first MiB itself.
#ifndef TIDEPOOL_MFILE_PREFETCH_H
#define TIDEPOOL_MFILE_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

// Starts the thread unless it runs. Not in a signal handler, not from mmap().
void prefetch_thread(void);

// Is there work that waits for a thread?
bool prefetch_waits(void);

// Whole pages. Safe anywhere.
void prefetch_post(uint64_t start, uint64_t end);

// How many bytes may be read ahead now; set it once. NULL: any number. What is beyond, a file of
// more than there is memory for, is left to the kernel.
extern uint64_t (*prefetch_room)(void);

void prefetch_postfork_child(void);

#endif
