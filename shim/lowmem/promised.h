// promised - blocks whose pages are there when the program gets them: TIDEPOOL_ON_LIMIT=enomem.
//
//     struct promised p = promised_begin(size);
//     if (p.refused)
//         return NULL;
//     return promised_end(p, take(size), 0, size);
//
// Under the other policy both do nothing, nor do they inside the pools (a signal handler's request
// that interrupted one). Any thread that is in no call of jemalloc's.
#ifndef TIDEPOOL_SHIM_LOWMEM_PROMISED_H
#define TIDEPOOL_SHIM_LOWMEM_PROMISED_H

#include <stdbool.h>
#include <stddef.h>

#include "pressure/promise.h"
#include "shim/base.h"

struct promised {
    size_t bytes; // 0: nothing was promised
    bool refused;
};

struct promised promised_begin_slow(size_t bytes);
void *promised_end_slow(struct promised p, void *ptr, size_t from, size_t to);

// `bytes` of new pages, at most. Refused: errno is ENOMEM.
static inline struct promised promised_begin(size_t bytes)
{
    return likely(!promise_is_on) ? (struct promised){0, false} : promised_begin_slow(bytes);
}

// Touches the block from its `from`th byte to the `to`th. Touches a block of the pools as a whole:
// the next request that gets it from a list may be larger. NULL and ENOMEM, with the block freed,
// where others took the memory meanwhile; not where `from` is a place in a block that was resized.
static inline void *promised_end(struct promised p, void *ptr, size_t from, size_t to)
{
    return likely(!p.bytes) ? ptr : promised_end_slow(p, ptr, from, to);
}

// Pages that jemalloc takes: counted here where no promise covers them.
void promised_note(size_t bytes);

#endif
