// low_memory - how a request is served while memory is short.
//
// From High on pages that lie free are better than new ones: each new one has to be given back
// elsewhere, and costs a fault. So a request gets the first that fit, of whatever size they were.
// Where none fit, because they lie in pieces, the pieces move to where it would take new ones.
// Requests for a few pages at a time find some that were moved there in advance.
//
// Any thread that is in no call of jemalloc's. Each does nothing, and returns NULL, where memory is
// not short, or that cannot be done: then the request goes its usual way. None touches errno.
#ifndef TIDEPOOL_SHIM_LOWMEM_LOW_MEMORY_H
#define TIDEPOOL_SHIM_LOWMEM_LOW_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A block of pages that jemalloc holds.
void *low_memory_reuse(size_t size, bool zero);

// A block into whose new pages free ones were moved, as many as there are; its contents are
// undefined. Takes an evaluation, if one is due, as every request for pages does.
void *low_memory_move(size_t size);

// After this thread was served a small request, by the pools' arena or its own: do the others have
// pages for it, instead of the next that it would take?
void low_memory_stock_up(bool pooled);

// What memory is short of. Called whenever that changes, by one thread at a time.
void low_memory_set_limit(uint64_t limit_bytes);

#endif
