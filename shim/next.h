// next - libc's calls that we interpose, past our own definitions of them.
//
//   next_call.munmap()   for the program's call, once our work for it is done: the definition
//                        behind ours, another preloaded library's or libc's.
//   next_own_munmap()    for memory of our own: by its name, as a preloaded jemalloc calls it.
//                        Whatever hooks the call hears of it: definitions in front of ours and
//                        behind it, patched tables and patched code (UCX, Open MPI). Our own
//                        definition knows such a call by next_is_own().
//
// Until next_find() has run both are raw system calls: a library whose constructor has not run yet
// may have nothing to call. Both set errno as libc does and return what libc returns. Any thread; a
// hook that allocates is entered with whatever lock our caller holds, as under jemalloc; what its
// own requests map is not told.
//
// To interpose one more call: a member here, a row in next.c, and the definition, which begins as
// those of mmap.c do.
#ifndef TIDEPOOL_SHIM_NEXT_H
#define TIDEPOOL_SHIM_NEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "shim/base.h"

struct next_call {
    void *(*mmap)(void *, size_t, int prot, int flags, int fd, off_t);
    void *(*mmap64)(void *, size_t, int prot, int flags, int fd, off_t);
    int (*munmap)(void *, size_t);
    void *(*mremap)(void *, size_t, size_t, int flags, ...); // always called with the fifth
    int (*madvise)(void *, size_t, int advice);
    int (*posix_madvise)(void *, size_t, int advice);
    int (*mprotect)(void *, size_t, int prot);
    int (*pkey_mprotect)(void *, size_t, int prot, int key);
    int (*mlock)(const void *, size_t);
    int (*mlock2)(const void *, size_t, unsigned flags);
    int (*munlock)(const void *, size_t);
    int (*mlockall)(int flags);
    int (*munlockall)(void);
    long (*mbind)(void *, unsigned long, int mode, const unsigned long *nodes, unsigned long most,
                  unsigned flags);
    int (*setrlimit)(int resource, const struct rlimit *);
    int (*setrlimit64)(int resource, const struct rlimit *);
    int (*prlimit)(pid_t, int resource, const struct rlimit *, struct rlimit *);
    int (*prlimit64)(pid_t, int resource, const struct rlimit *, struct rlimit *);
};

extern struct next_call next_call HIDDEN;

// Looks the definitions up; one that is not found stays a raw system call. Once, by the
// constructor: dlsym() waits for a lock of ld.so's, which is no place for malloc().
void next_find(void);

void *next_own_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int next_own_munmap(void *addr, size_t length);
void *next_own_mremap(void *old, size_t old_length, size_t length, int flags, void *to);
int next_own_madvise(void *addr, size_t length, int advice);

// Is the call that this thread makes just now one of next_own_*? For the first that asks only: what
// a hook calls in turn is the program's.
bool next_is_own(void);

// Is this thread inside one of next_own_*, in a hook of that call? What holds there, see above.
bool next_is_inside(void);

#endif
