// calls - mmap and its family, with the process's file mappings noted on the way to the next
// definition (shim/next.h).
//
// Results and errno are the kernel's; what we do beside the call neither fails it nor changes
// errno. Nothing here allocates from the heap, waits for a lock or for the disk (but HINT_POPULATE,
// which was asked for), or needs more than the raw system calls. So it is safe before any
// constructor, in signal handlers, after fork.
//
// While nothing was switched on, a pair of mmap and munmap costs 50 ns more than raw system calls.
// With the table, 100 ns for anonymous memory, 200 for a file, 300 beside 10,000 others. Rules
// whose hints are given at once cost nothing more where the worker asks for them; where the call
// does (see rules.h), 500 ns. A path of more than 1000 bytes matches none there.
#ifndef TIDEPOOL_MFILE_CALLS_H
#define TIDEPOOL_MFILE_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Anonymous mappings from this size on are merged, where that is switched on.
#define CALLS_MERGE_MIN_BYTES ((size_t)1 << 20)

enum {
    CALLS_RECORD = 1,
    CALLS_RULES = 2, // the policy has hints that are given at once
    CALLS_MERGE = 4,
    CALLS_LATER = 8, // and the worker gives them
};

// What is switched on; 0: every call goes straight to the kernel.
extern _Atomic unsigned calls_on;

// Told the bytes of each file that is mapped; safe wherever mmap is. Set it before anything is
// switched on; NULL for none.
extern void (*calls_on_file)(uint64_t bytes);

// Before CALLS_RULES comes rules_init().
void calls_switch_on(unsigned what);
void calls_switch_off(unsigned what);

// Is there a table?
bool calls_records(void);

// With the definition that goes on from here: mmap's or mmap64's.
typedef void *calls_mmap_fn(void *, size_t, int prot, int flags, int fd, off_t);
void *calls_mmap_by(calls_mmap_fn *map, void *addr, size_t length, int prot, int flags, int fd,
                    off_t offset);

void *calls_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int calls_munmap(void *addr, size_t length);
void *calls_mremap(void *old, size_t old_length, size_t length, int flags, void *to);
int calls_madvise(void *addr, size_t length, int advice);

// Of advice that the kernel has taken.
void calls_note_advice(void *addr, size_t length, int advice);

#endif
