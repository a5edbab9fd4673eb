// reclaim - what is free goes back to the kernel: from the pools, jemalloc's arenas and holes.
//
// By hand here, by the watchdog through its hooks (glue/watchdog.c). Any thread.
#ifndef TIDEPOOL_SHIM_LOWMEM_RECLAIM_H
#define TIDEPOOL_SHIM_LOWMEM_RECLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Drains every cache down to `keep_bytes` and purges all of jemalloc's arenas, now. Returns the
// bytes that the kernel got back: 0 in a handler that interrupted the heap, which does nothing.
size_t reclaim(uint64_t keep_bytes);

// For a request that jemalloc could not serve: address space or commitment may be short while pages
// lie free. Reclaims all there is, unless that would be in vain: for what could not fit anyway, and
// where little was freed since it was in vain, once a second. True: a second try is worth it.
bool reclaim_for(size_t bytes);

// As reclaim(), without an evaluation around it, and up to `holes_bytes` of holes. For the
// watchdog's hooks.
size_t reclaim_pages(uint64_t keep_bytes, uint64_t holes_bytes);

// Free bytes of the process: in the pools, and in pages that jemalloc keeps for reuse.
uint64_t reclaim_held_bytes(void);

#endif
