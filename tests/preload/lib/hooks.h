// hooks - what lib/hooks.c, preloaded beside the allocator, has heard.
#ifndef TIDEPOOL_TESTS_HOOKS_H
#define TIDEPOOL_TESTS_HOOKS_H

#include <stddef.h>

struct hooks_heard {
    unsigned mmap, mmap64, munmap, mremap, madvise, posix_madvise, setrlimit, prlimit; // calls
    char *watched;   // a page of the program's
    unsigned gone;   // calls that took it away
    size_t allocate; // bytes that each hook allocates and frees
};

#endif
