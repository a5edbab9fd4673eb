// transfer_cache - where thread caches of the process exchange free blocks.
//
// For each class a ring of units, which grows as it has to: the limits of the buckets bound it. The
// quota for the blocks moves with them. Each class has a lock of its own, a leaf: nothing is
// called while it is held but the kernel. Safe from any thread, not from a signal handler that
// interrupted the transfer cache.
#ifndef TIDEPOOL_POOL_THREAD_CACHE_TRANSFER_CACHE_H
#define TIDEPOOL_POOL_THREAD_CACHE_TRANSFER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

// Puts `count` blocks in, the last of them to be taken first. False, with none put in, when there
// is no memory for their numbers.
bool transfer_put(unsigned class, const uint32_t *units, uint32_t count);

// Takes up to `max` of the blocks that were put in last, in the order that they were put in;
// returns how many.
uint32_t transfer_take(unsigned class, uint32_t *units, uint32_t max);

// Like transfer_take(), with the blocks that have lain there longest.
uint32_t transfer_take_oldest(unsigned class, uint32_t *units, uint32_t max);

// Free blocks of `class` in the transfer cache.
uint64_t transfer_count(unsigned class);

// How many blocks were never needed since the last call of this for the class: the fewest that it
// held in between.
uint64_t transfer_idle(unsigned class);

// Gives back the memory of all rings that are empty, for a clock's tick.
void transfer_tidy(void);

// Around fork: all locks taken, then let go in parent and child.
void transfer_lock_all(void);
void transfer_unlock_all(void);

// In a child whose parent ran no handler: no lock is held. Its blocks are lost to the child where a
// thread that does not exist there was bringing blocks: they may be on that thread's list as well.
void transfer_forget_threads(bool bringing);

#endif
