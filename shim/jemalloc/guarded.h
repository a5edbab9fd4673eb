// guarded - jemalloc's functions as the shim calls them: with the guard of pool/region/region.h
// around each, so that a signal handler may allocate and free whatever it interrupted.
//
// Where this thread is inside jemalloc already, a request gets a block of
// pool/region/signal_block.h, a free waits, and what asks for figures or settings is refused. `make
// check` sees to it that shim/ calls jemalloc from here, and from low_memory.c, alone.
//
// The guard costs a small malloc and free a nanosecond each, 12 instructions. So those that need it
// least, in fallback.h, go without until the program installs its first signal handler: see
// signal.c. A thread that is inside such a request at that moment finishes it unguarded; a
// handler that interrupts it there and allocates may find jemalloc's locks held.
//
// Errors are those of the functions in jemalloc(3). Safe from any thread and any handler.
#ifndef TIDEPOOL_SHIM_JEMALLOC_GUARDED_H
#define TIDEPOOL_SHIM_JEMALLOC_GUARDED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "pool/common/size_class.h"
#include "shim/base.h"

// From now on fallback.h's small requests and frees are guarded, too. Any number of times.
void guarded_from_now_on(void);

// Has that been called; and what else it calls, set by fallback.c.
extern _Atomic bool guarded_wanted HIDDEN;
extern void (*_Atomic guarded_on_wanted)(void) HIDDEN;

// Has jemalloc start, and make what it keeps for this thread.
void guarded_attach(void);

// Also makes its thread cache, which a question to jemalloc may be about.
void guarded_attach_tcache(void);

void *guarded_malloc(size_t size);
void *guarded_calloc(size_t count, size_t size);
void *guarded_realloc(void *ptr, size_t size); // neither is 0
void guarded_free(void *ptr);

// As malloc and calloc, of more than 1 MiB: begins on LARGE_CACHE_ALIGNMENT.
void *guarded_large(size_t size, bool zero);

// Of any size but 0: guarded_large() above 1 MiB.
static inline void *guarded_alloc(size_t size, bool zero)
{
    if (size > SIZE_CLASS_MAX_BYTES)
        return guarded_large(size, zero);
    return zero ? guarded_calloc(1, size) : guarded_malloc(size);
}

size_t guarded_usable_size(const void *ptr);

void *guarded_mallocx(size_t size, int flags);
void *guarded_rallocx(void *ptr, size_t size, int flags);
size_t guarded_xallocx(void *ptr, size_t size, size_t extra, int flags);
void guarded_dallocx(void *ptr, int flags);

// EAGAIN inside.
int guarded_mallctl(const char *name, void *old, size_t *old_len, void *new_value, size_t new_len);
int guarded_mallctlnametomib(const char *name, size_t *mib, size_t *mib_len);
int guarded_mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len,
                         void *new_value, size_t new_len);

// Writes the value to "arena.<i>.<...>" of every arena; `name` is that of arena 0. Those never used
// refuse, and need nothing.
void guarded_set_arenas(const char *name, void *value, size_t length);

// Writes nothing inside. The callback may allocate.
void guarded_stats_print(void (*write_cb)(void *, const char *), void *arg, const char *opts);

#endif
