// peek - reads of memory that may not be there: another program's structures, by address.
//
// The kernel is asked once a page and sample; it says so without a signal. What one thread has seen
// another may unmap a moment later, so the caller reads only what its own thread keeps alive.
#ifndef TIDEPOOL_SHIM_PROFILE_PEEK_H
#define TIDEPOOL_SHIM_PROFILE_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Pages seen to be there; {0} at a sample's start.
struct peek {
    uintptr_t seen[16];
    bool asked, silent; // whether the kernel says which are there; and that it does not
};

// Copies `size` bytes, at most a page, from `at`, which is on a word's boundary. False, and nothing
// is copied, where that is no memory to read.
bool peek(struct peek *p, uintptr_t at, void *to, size_t size);

// One word; 0 where there is none.
uintptr_t peek_word(struct peek *p, uintptr_t at);

#endif
