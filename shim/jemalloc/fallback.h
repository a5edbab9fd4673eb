// fallback - what serves requests that are none of the pools', through pointers.
//
// The first request settles which heap that is: jemalloc, or another allocator that stands in front
// (aside.h). Later each pointer may get what does more: the guard against signal handlers, once the
// program has installed one, or the count of samples (profile/sampling.h), which guards itself.
#ifndef TIDEPOOL_SHIM_JEMALLOC_FALLBACK_H
#define TIDEPOOL_SHIM_JEMALLOC_FALLBACK_H

#include <stddef.h>

#include "shim/base.h"

// What serves requests below 1 KiB, resizes blocks of jemalloc's and frees them: jemalloc itself,
// jemalloc with a guard (guarded.h), or what counts for sampling first. Jumping through a pointer
// costs what a jump to a name costs.
extern HIDDEN void *(*heap_small)(size_t size);
extern HIDDEN void *(*heap_small_zeroed)(size_t count, size_t size);
extern HIDDEN void *(*heap_resized)(void *ptr, size_t size);

// What frees a block that is not of the pools: jemalloc, with the guard or without, or the
// allocator in front (aside.h).
extern HIDDEN void (*heap_free_other)(void *ptr);

#endif
