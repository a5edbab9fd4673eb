// vma_limits - what the kernel says of this process's mappings.
//
// Each is a few system calls, or some hundred where there are thousands of mappings. Any thread;
// they neither allocate nor let a thread be cancelled, and leave errno as it comes.
#ifndef TIDEPOOL_POOL_REGION_VMA_LIMITS_H
#define TIDEPOOL_POOL_REGION_VMA_LIMITS_H

#include <stdbool.h>

// How many there may be (vm.max_map_count); -1 where /proc does not say.
long vma_max(void);

// How many mappings there are; -1 where that cannot be read.
long vma_count(void);

// Is any memory locked (mlock, mlockall)? What moves to another address leaves an unlocked place
// behind. True where /proc does not say.
bool vma_locked(void);

#endif
