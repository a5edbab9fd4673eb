// marks - what the program has told the kernel about pages of the heap, and how it is taken back.
//
// madvise(), mprotect(), mlock() and the like act on whole pages, and last until they are undone or
// the pages are unmapped. Programs free blocks without undoing them, and the heap uses the pages
// again. So each page that was marked is noted, and is mapped anew when it becomes free. Marked
// pages do not move.
//
// A block of pages of its own (from 16 KiB up, or aligned to pages) becomes free pages when it is
// freed. A smaller one shares its pages with others: their marks stay until all of the pages'
// blocks are free, as with any allocator. Marks made by raw system calls are not seen.
//
// One byte for each page, in tables of 256 KiB for each GiB of addresses in which something was
// marked. A process that marks nothing of the heap's has no table and pays one load for each extent
// that becomes free. Any thread, signal handlers too: no locks, no allocation. errno is left alone.
#ifndef TIDEPOOL_POOL_COMMON_MARKS_H
#define TIDEPOOL_POOL_COMMON_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum marks {
    MARKS_FORK = 0x01,      // MADV_DONTFORK: a child does not have the pages
    MARKS_WIPE = 0x02,      // MADV_WIPEONFORK: a child has them empty
    MARKS_MERGE = 0x04,     // MADV_MERGEABLE
    MARKS_HUGE = 0x08,      // MADV_HUGEPAGE, MADV_NOHUGEPAGE
    MARKS_PROTECTED = 0x10, // other than readable and writable, or a protection key
    MARKS_LOCKED = 0x20,    // mlock()
    // MADV_DONTDUMP, an order of access, guards, a policy for NUMA nodes; another mapping
    MARKS_OTHER = 0x40,
};

// The program locked all memory, present and future, or unlocked it.
void marks_on_lock_all(bool lock);

// Removes `off` from the marks of the pages of [at, end), adds `on`; returns all that were there.
unsigned marks_change(uintptr_t at, uintptr_t end, unsigned on, unsigned off);

// May the 2 MiB around this address have pages of jemalloc's? The pools' have to be asked for
// apart.
#define MARKS_CHUNK_LG 21
bool marks_may_be_heap(uintptr_t at);

// All of these lie from *low to *high; *low is above *high where there are none.
void marks_heap_bounds(uintptr_t *low, uintptr_t *high);

// Or the 128 MiB around it, any of them?
#define MARKS_NEAR_LG (MARKS_CHUNK_LG + 6)
bool marks_heap_is_near(uintptr_t at);

// For page_hooks.c: [at, at + size) was mapped for the heap.
void marks_heap_has(uintptr_t at, size_t size);

// For page_hooks.c: takes all marks off free pages, whose contents are lost thereby. To be called
// before another thread can have them.
void marks_take_off(uintptr_t at, size_t size);

// Is any of these pages marked?
bool marks_any(uintptr_t at, size_t size);

// In the child of a fork, where nothing is locked any more.
void marks_postfork_child(void);

// How huge pages are advised where the heap maps pages: MADV_HUGEPAGE, MADV_NOHUGEPAGE, or
// MADV_NORMAL for not at all, which leaves MARKS_HUGE as they are. Set it early.
extern int marks_huge_advice;

// Has anything of the heap's been marked ever? For the fast way out.
extern _Atomic bool marks_were_made;

#endif
