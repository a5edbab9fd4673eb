// watchdog - the pressure module put to work on the pools and on jemalloc.
//
// Settings in, hooks out: what a reclaim drains and purges, what a level does to the pools' ceiling
// and to jemalloc's decay, what ages, and what the log says.
#ifndef TIDEPOOL_SHIM_LOWMEM_WATCHDOG_H
#define TIDEPOOL_SHIM_LOWMEM_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "shim/config/config.h"

// `pool_max_bytes`: the ceiling of the pools while memory is plenty. Starts nothing yet.
void watchdog_init(const struct config *config, uint64_t pool_max_bytes);

// Around the requests that take pages, where no lock is held: an evaluation before, if one is due,
// and the thread's start after.
static inline void watchdog_before(size_t bytes)
{
    pressure_ask(bytes);
}

static inline void watchdog_after(void)
{
    watchdog_thread_poke();
}

// The thread is to be there from the next safe point on, whatever there is to watch. For what needs
// it even where the watchdog is off, watchdog_init() has to know.
void watchdog_want_thread(void);
void watchdog_want_thread_later(void); // see watchdog_thread.h
// Or now: not in a signal handler, nor inside malloc.
void watchdog_start_thread(void);

// Drains every cache down to `keep_bytes` and purges all of jemalloc's arenas, now. Returns the
// bytes that the kernel got back: 0 in a handler that interrupted the heap, which does nothing.
size_t watchdog_reclaim(uint64_t keep_bytes);

// For a request that jemalloc could not serve: address space or commitment may be short while pages
// lie free. Reclaims all there is, unless that would be in vain: for what could not fit anyway, and
// where little was freed since it was in vain, once a second. True: a second try is worth it.
bool watchdog_reclaim_for(size_t bytes);

#endif
