// aside - another allocator stands in front of this one, and serves the process.
//
// LD_PRELOAD=libjemalloc.so:libtidepool.so, or a program that brings its own malloc(). The calls
// that the other one does not define (reallocarray, operator new, __libc_memalign) still come here,
// and their blocks are freed there. So this library takes no part: what comes here goes on to the
// other one's functions, and there are no pools, no thread and no fork handlers.
//
// A library that only watches malloc() and calls on (heaptrack) is in front, too, but a request to
// it arrives here. That is asked once, by a request of 64 bytes.
#ifndef TIDEPOOL_SHIM_ASIDE_H
#define TIDEPOOL_SHIM_ASIDE_H

#include <stdbool.h>
#include <stddef.h>

// Any thread, any time; a load once it is known.
bool aside(void);

// False until then, and while it is being asked: aside() is false then, too.
bool aside_is_known(void);

// The file that has the other malloc(); for the line that says so. Not from inside malloc().
const char *aside_for(void);

// The other allocator's functions. What it lacks is refused: NULL with ENOMEM, or a size of 0.
void *aside_alloc(size_t size, bool zero);
void *aside_realloc(void *ptr, size_t size);
void *aside_aligned(size_t alignment, size_t size);
size_t aside_usable_size(void *ptr);

#endif
