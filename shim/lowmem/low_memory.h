// low_memory - how a request that would take new pages is served by free ones.
//
// A new page costs a fault. From High on it has to be given back elsewhere, too. So a request of 16
// KiB or more gets the first free pages that fit, of whatever size they were. Where none fit, free
// blocks of other sizes give way: they go to jemalloc, which joins their pages. From High on all
// do; before, as many as cost 2 % of a processor at most. Pages that lie in pieces even then move
// to where the request would take new ones, from High on. Requests for a few pages at a time find
// some that were moved there in advance.
//
// Any thread that is in no call of jemalloc's. Each does nothing, and returns NULL, where it need
// not or cannot: then the request goes its usual way. None touches errno.
#ifndef TIDEPOOL_SHIM_LOWMEM_LOW_MEMORY_H
#define TIDEPOOL_SHIM_LOWMEM_LOW_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A block of pages that jemalloc holds. NULL where memory is not short and no blocks can give way.
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
