// tcache - when a thread has jemalloc's thread cache, and how much lies in it.
//
// jemalloc 5.3 makes it with a thread's first request: 28 KiB for its lists of free blocks. With
// the first request of each size it fills half a list, so that no two threads share a page of small
// blocks. That was most of what an idle thread cost: 17 KiB for one block, 91 KiB for one of each
// size. Here a thread that has asked for less than 8 KiB has none: the arena serves it, under a
// lock. A list is filled with 4 blocks at first, later by what was asked of it.
//
// With jemalloc as shipped a thread that only frees never has one, and each free takes a lock of
// the arena's. Here such a thread asks for a block after 8 KiB, and is one like any other.
//
// No other thread can reach a thread cache. So that of a thread which only frees, and may sleep
// next, is emptied each 192 KiB.
//
// Where a thread was the last of its arena, jemalloc gives all of the arena's free pages back at
// the thread's end. Before the next thread's lists are made, it gives back their pages to have them
// zero. Both cost a thread that comes and goes up to 15 faults. Neither is done here.
//
// jemalloc 5.3.1 does most of this another way; there the second function has no effect.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_TCACHE_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_TCACHE_H

#include <stdbool.h>
#include <stdint.h>

// On the thread itself, before its first request: it never has one. jemalloc 5.3 crashes where
// there is no memory left for it. Without it each request that fails returns NULL.
void tcache_never_self(void);

// The calling thread has one from now on, however little it asked for; unless there is no memory
// for it. Not in the middle of a request.
void tcache_make_self(void);

// After an event of a thread's frees, outside all locks: how many bytes the thread ever freed.
void tcache_note_freed(uint64_t bytes);

// For the self-test: are a list's first words where they are taken to be? By a thread that is not
// inside jemalloc.
bool tcache_lists_fit(void);

#endif
