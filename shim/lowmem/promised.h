// promised - blocks whose pages are there when the program gets them: TIDEPOOL_ON_LIMIT=enomem.
//
//     struct promised p = promised_begin(size);
//     void *ptr = p.refused ? NULL : take(size);
//     if (!promised_end(p, ptr, 0, size))
//         free(ptr), ptr = NULL;
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
bool promised_end_slow(struct promised p, void *ptr, size_t from, size_t to);

// `bytes` of new pages, at most. Refused: errno is ENOMEM.
static inline struct promised promised_begin(size_t bytes)
{
    return likely(!promise_is_on) ? (struct promised){0, false} : promised_begin_slow(bytes);
}

// Touches the block from its `from`th byte to the `to`th. Touches a block of the pools as a whole:
// the next request that gets it from a list may be larger. False where others took the memory
// meanwhile: the caller has to free the block and fail. True where there is no block, or `from` is
// a place in one that was resized. Leaves errno alone.
static inline bool promised_end(struct promised p, void *ptr, size_t from, size_t to)
{
    return likely(!p.bytes) || promised_end_slow(p, ptr, from, to);
}

// Pages that jemalloc takes: counted here where no promise covers them.
void promised_note(size_t bytes);

#endif
