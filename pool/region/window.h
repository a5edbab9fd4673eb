// window - a range of addresses that is mapped from its begin on, as it is needed.
//
// What is not mapped yet is not reserved either. A mapping of something else that lies in the way
// stays as it is, and ends the growth. Calls for one window must not overlap. errno is not left
// alone.
#ifndef TIDEPOOL_POOL_REGION_WINDOW_H
#define TIDEPOOL_POOL_REGION_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window {
    uintptr_t begin;
    size_t bytes;   // mapped so far
    int advice;     // for madvise(2), given for each new part; MADV_NORMAL: none
    bool no_access; // nothing else is to lie there, that is all
    bool merge;     // the kernel may merge equal pages
};

// Makes sure that the first `upto` bytes are mapped, rounded up to a page: private, anonymous,
// readable and writable unless no_access says otherwise. False, and nothing changed, where
// something else lies there or the kernel refuses. errno is EEXIST for the first.
bool window_grow(struct window *w, size_t upto);

// Unmaps all of it.
void window_close(struct window *w);

// An address, a multiple of 2 MiB, that is `bytes` below the one where the kernel would map
// something now, and as random. Where there are not that many addresses below, it is above: the
// kernel then maps upwards, as emulators do. 0 where nothing can be mapped.
uintptr_t window_place(size_t bytes);

#endif
