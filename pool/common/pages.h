// pages - mapping calls for the library and for jemalloc, past the program's and our own mmap().
//
// As mmap(2) and its like. What is the library's is not the program's: see shim/next.h.
#ifndef TIDEPOOL_POOL_COMMON_PAGES_H
#define TIDEPOOL_POOL_COMMON_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// The build gives jemalloc's own calls these names.
void *pages_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int pages_munmap(void *addr, size_t length);
int pages_madvise(void *addr, size_t length, int advice);
int pages_mprotect(void *addr, size_t length, int prot);

// Lets the kernel merge equal pages of what is mapped here from now on, from 1 MiB up, and of the
// pools' blocks. Set it before the first request.
extern bool pages_merge;

// While it is lent, a mapping of up to a page that the kernel refuses is a static page. One thread.
void pages_lend_one(bool lend);

#endif
