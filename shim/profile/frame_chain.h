// frame_chain - a stack walked by its frame pointers: for code without unwind tables, as code made
// at run time is.
//
// Such code may use the register for something else, and then a walk meets anything. So a frame is
// believed only where it is aligned, and lies higher on the stack than the one before, not far from
// it. And the kernel is asked whether every page up to it can be read. What lies beyond a stack's
// guard page, or on another stack, ends the walk.
//
// Takes no lock and allocates nothing. A page costs one system call.
#ifndef TIDEPOOL_SHIM_PROFILE_FRAME_CHAIN_H
#define TIDEPOOL_SHIM_PROFILE_FRAME_CHAIN_H

#include <stdint.h>

// The return addresses of a frame's callers, at most `max`; returns how many. `sp` is the stack
// pointer of that frame, `fp` its frame pointer.
unsigned frame_chain(uintptr_t *frame, unsigned max, uintptr_t sp, uintptr_t fp);

#endif
