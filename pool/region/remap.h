// remap - free pages move to where a request would take new ones.
//
// Near the limit, for each page that is taken another has to go back to the kernel. That takes 1.7
// us, most of it for the fault (Linux 6.18 in a virtual machine). mremap(2) moves a piece of any
// size in 8 to 40 us, and nothing is zeroed, charged or touched. Where the piece was reads as zero
// from then on, as if it had been given back (page_move.h). Where the kernel moves pages of one
// mapping at a time, free pages of several move mapping by mapping, and what is left of them is
// purged.
//
// A thread that makes a request notes which pages jemalloc takes for it. Before they are touched
// that thread purges: pages that would go back to the kernel move there instead.
//
// Each piece is a mapping of its own, of which the kernel allows vm.max_map_count, usually 65530. A
// quarter of them, and 16384, is the most that there may be in the process for pieces to move.
#ifndef TIDEPOOL_POOL_REGION_REMAP_H
#define TIDEPOOL_POOL_REGION_REMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A smaller piece is purged as usual. In a process that has moved some thousand pieces a move costs
// as much as 10 to 20 faults.
#define REMAP_MIN_BYTES ((size_t)64 << 10)

struct remap {
    uintptr_t fresh, fresh_end; // pages that were taken for the request
    uintptr_t to, end;          // where the next piece goes, and no further
    int pagemap;                // to ask whose the pages are, where others may have them, too
    bool lost;                  // see remap_fill()
};

// Pages are moved from now on, where that is possible; `say` is told once why it is not after all.
// It may be called with jemalloc's locks held. Not to be called where fresh pages have to be zero
// (MALLOC_CONF=zero:true).
void remap_allow(void (*say)(const char *why));

// May pages be moved, as far as is known without a system call? Any thread.
bool remap_enabled(void);

// The program has locked or unlocked memory (mlock, mlockall and the like): no pages move while any
// is locked, because the place that they leave is not. Locks made by raw system calls are seen
// after 64 moves. Any thread, signal handlers too.
void remap_locks_changed(void);

// May pages be moved just now? A few loads and a getrlimit(); now and then the mappings are
// counted.
bool remap_usable(void);

// From now on, to remap_end(), this thread's first pages of REMAP_MIN_BYTES or more that jemalloc
// takes at once are noted in *r, and not counted. The caller reports
// those that get no moved pages to pages_take(). A signal handler's pages may be the first. False:
// another thread moves pages, and jemalloc would not let two threads purge the same arena.
bool remap_begin(struct remap *r);
void remap_end(void);

// Where pages may come from: the pools' arena, the others, or the first and then all.
enum remap_source { REMAP_POOLS, REMAP_OTHERS, REMAP_ANY };

// Between the two: purges some free pages into those of [begin, end) that were noted: the block
// that they were taken for, which no other thread knows yet. Returns how many bytes moved there.
// Where r->lost, the block must be neither used nor freed ever: the kernel may have unmapped a part
// of it.
size_t remap_fill(struct remap *r, uintptr_t begin, uintptr_t end, enum remap_source source);

// On both sides of a fork, from when on pages may be shared. Those stay where they are: each that
// is written to would be a new page that no count has.
void remap_postfork_parent(void);
void remap_postfork_child(void);

// Bytes moved ever.
uint64_t remap_bytes(void);

// For page_hooks.c, by its table of pointers: records pages that are being taken; false if no move
// is in progress.
bool remap_note(uintptr_t at, size_t size);

// And: does this thread purge for a fill?
bool remap_fills(void);

// And: moves these free pages, or those of them that have a place and can move;
// returns how many bytes, 0 for none. Their old places read as zero. Leaves errno alone.
size_t remap_take(uintptr_t at, size_t size);

#endif
