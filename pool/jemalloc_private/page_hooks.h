// page_hooks - where jemalloc takes pages from the kernel and gives them back.
//
// jemalloc keeps address space and decides for itself when its pages are used again, so neither
// malloc() nor its extent hooks see a heap of small objects grow. The build therefore wraps the
// three functions of jemalloc's by which pages come and go (ld --wrap). Pages count as taken when
// they are committed, as given back when they are decommitted. The function that searches for an
// extent without pages is wrapped too, to refuse it.
//
// So is the one that makes its stores of free extents. Those with pages it merges with what lies
// beside them only when they go back to the kernel, unless they are large: a slab is soon a slab
// again. A program whose sizes grow then takes new pages while all of the old ones lie free in
// pieces. Here they are merged at once.
//
// Both happen with locks of jemalloc's held: the callback may count and wake, never allocate. Work
// that has to wait for a moment without locks is done at the next refill of a thread cache, which a
// wrapped function tells of. A thread that frees and takes again needs no refill: for it another
// wrapped function tells of some 64 KiB of small requests.
#ifndef TIDEPOOL_POOL_PAGE_HOOKS_H
#define TIDEPOOL_POOL_PAGE_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes of pages that jemalloc has taken from the kernel and given back, ever; the difference is
// what it holds, live and free, as if every page had been touched.
uint64_t pages_taken(void);
uint64_t pages_returned(void);

// From now on a purge by this thread (arena.<i>.purge and .decay) ends once it has given back that
// many bytes, or 64 KiB more; those unused for longest go first. UINT64_MAX: no such end.
void pages_limit_purge(uint64_t bytes);

// Until it is 0 again, this thread's requests for which jemalloc makes an extent of `bytes` or more
// get pages that jemalloc holds, or fail. What jemalloc wants for itself must be smaller, or there
// already: for a thread's first request it makes 28 KiB, and crashes where it does not get them. A
// signal handler must not be refused: its caller sets 0.
void pages_freeze(size_t extent_bytes);

// Begins to count anew.
void pages_forget_counts(void);

// Counts pages that were taken, or given back, without a word from jemalloc.
void pages_take(size_t bytes);
void pages_return(size_t bytes);

// Has jemalloc taken pages for this thread since the last such question?
bool pages_grew(void);

// Does this kernel promise more memory than it has? Known once jemalloc has mapped some.
bool pages_overcommit(void);

// Whether this kernel overcommits shows when jemalloc maps its first pages. Where it has mapped
// none, or keeps no address space, this asks. Once, before there is a region.
void pages_probe(void);

// Called with each number of bytes taken; NULL for none. Set it once, early.
extern void (*pages_on_take)(size_t bytes);

// Called with each number of bytes that jemalloc is given back and keeps for reuse, in the middle
// of a free: it may count, and wake a thread. NULL for none. Set it once, early.
extern void (*pages_on_free)(size_t bytes);

// Called now and then by a thread that allocates small objects, where jemalloc holds no lock and
// may be entered again. That is after its thread cache was refilled, or could not be, and each 64
// KiB. Returns whether a second try is worth it. NULL for none. Set it once, early.
extern bool (*pages_on_refill)(bool filled);

// Called before such a refill, in the state that pages_on_refill is called in. Where it returns
// false the refill gets no new pages, only what was freed. NULL: it always may. Set it once, early.
extern bool (*pages_may_refill)(void);

// Called, beside that, with how many bytes a thread has ever been given by jemalloc. The next call
// is 64 KiB later, or where the last call asked for by what it returned. The request that got there
// has been served. NULL for none. Set it once, early.
extern uint64_t (*pages_on_count)(uint64_t allocated_bytes);

// Moves of free pages (region/remap.h), asked while pages are taken and given back. All NULL where
// none are possible. Set it once, before the first of these returns anything but false and 0.
extern struct pages_moves {
    bool (*note)(uintptr_t at, size_t size);   // these are being taken: is a move to count them?
    bool (*fills)(void);                       // does this thread purge for a move?
    size_t (*take)(uintptr_t at, size_t size); // moves free ones; how many bytes. errno stays.
} pages_moves;

#endif
