// aside - another allocator stands in front of this one, and serves the process.
//
// LD_PRELOAD=libjemalloc.so:libtidepool.so, or a program that brings its own malloc(). The calls
// that the other one does not define (reallocarray, operator new, __libc_memalign) still come here,
// and their blocks are freed there. So this library takes no part: what comes here goes on to the
// other one's functions, and there are no pools, no thread and no fork handlers.
//
// A library that only watches malloc() and calls on (heaptrack) is in front, too, but a request to
// it arrives here. That is asked once, by a request of 64 bytes.
#ifndef TIDEPOOL_SHIM_JEMALLOC_ASIDE_H
#define TIDEPOOL_SHIM_JEMALLOC_ASIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/base.h"

// Any thread, any time; a load once it is known.
bool aside(void);

// False until then, and while it is being asked: aside() is false then, too.
bool aside_is_known(void);

// The file that has the other malloc(); for the line that says so. Not from inside malloc().
const char *aside_for(void);

// Our own definitions of what has these names, whichever is in front. A program's own memalign()
// may call __libc_memalign(): that one goes on to heap_own_memalign(), never to the program's
// again.
void *heap_own_malloc(size_t size) HIDDEN;
void heap_own_free(void *ptr) HIDDEN;
int heap_own_posix_memalign(void **out, size_t alignment, size_t size) HIDDEN;
void *heap_own_aligned_alloc(size_t alignment, size_t size) HIDDEN;
void *heap_own_memalign(size_t alignment, size_t size) HIDDEN;
void *heap_own_valloc(size_t size) HIDDEN;
void *heap_own_pvalloc(size_t size) HIDDEN;
size_t heap_own_malloc_usable_size(void *ptr) HIDDEN;

// The other allocator's functions. What it lacks is refused: NULL with ENOMEM, or a size of 0.
void *aside_alloc(size_t size, bool zero);
void *aside_realloc(void *ptr, size_t size);
void *aside_aligned(size_t alignment, size_t size);
size_t aside_usable_size(void *ptr);

#endif
