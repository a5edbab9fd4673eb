// depot - the process-wide shelf where thread caches exchange batches of free blocks.
//
// For each class a stack of batches; a batch is a list linked through the map, moved whole. The
// credit for its blocks moves with it. Each class has a lock of its own, a leaf: nothing is called
// while it is held. Safe from any thread, not from a signal handler that interrupted the depot.
#ifndef TIDEPOOL_POOL_DEPOT_H
#define TIDEPOOL_POOL_DEPOT_H

#include <stdbool.h>
#include <stdint.h>

struct batch {
    uint32_t head; // unit of the first block
    uint32_t count;
};

// Shelves a batch of at least one block; false when the shelf of that class is full.
bool depot_put(unsigned class, struct batch batch);

// Takes the batch that was shelved last; count 0 when there is none.
struct batch depot_get(unsigned class);

// Free blocks of `class` on the shelf.
uint64_t depot_count(unsigned class);

// Takes the batch that has lain there longest; count 0 when there is none.
struct batch depot_get_oldest(unsigned class);

// How many batches were never needed since the last call of this for the class: the fewest that
// the shelf held in between.
uint32_t depot_idle_batches(unsigned class);

// Around fork: all locks taken, then let go in parent and child.
void depot_lock_all(void);
void depot_unlock_all(void);

#endif
