// calls - mmap and its family on raw system calls, with the process's file mappings noted on the
// way.
//
// Results and errno are the kernel's; what we do beside the call neither fails it nor changes
// errno. Nothing here allocates from the heap, waits for a lock or for the disk (but HINT_POPULATE,
// which was asked for), or needs more than the raw system calls: safe before any constructor, in
// signal handlers, after fork.
//
// While nothing was switched on, a call costs one load more than without us. With the table, a call
// for anonymous memory costs nothing more, a pair of mmap and munmap of a file about 150 ns. With
// rules whose hints are given at once, the file has to be known: fstat for each, and 3 us for the
// path of one that was not seen before, or that changed. A path of more than 1000 bytes matches
// none.
#ifndef TIDEPOOL_MFILE_CALLS_H
#define TIDEPOOL_MFILE_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mfile/policy.h"

// Anonymous mappings from this size on are merged, where that is switched on.
#define CALLS_MERGE_MIN_BYTES ((size_t)1 << 20)

enum { CALLS_RECORD = 1, CALLS_RULES = 2, CALLS_MERGE = 4 };

// What is switched on; 0: every call goes straight to the kernel.
extern _Atomic unsigned calls_on;

// Told the bytes of each file that is mapped; safe wherever mmap is. Set it before anything is
// switched on; NULL: nobody.
extern void (*calls_on_file)(uint64_t bytes);

// Both before the first is switched on. The policy must stay valid for ever.
void calls_init(const struct policy *policy);
void calls_switch_on(unsigned what);

void *calls_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int calls_munmap(void *addr, size_t length);
void *calls_mremap(void *old, size_t old_length, size_t length, int flags, void *to);
int calls_madvise(void *addr, size_t length, int advice);

#endif
