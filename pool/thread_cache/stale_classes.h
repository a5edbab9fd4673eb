// stale_classes - which size classes the program has left.
//
// A program that goes from one size to another leaves free blocks behind, on every list that has
// had them. As blocks they are of no use. Their pages could serve the sizes that it has gone on to,
// for a hundredth of what the kernel takes for as many new ones. The clock that ages lists ticks in
// seconds, which is too late for that. Growth is the better one: as long as no new pages are taken,
// none are missing.
#ifndef TIDEPOOL_POOL_THREAD_CACHE_STALE_CLASSES_H
#define TIDEPOOL_POOL_THREAD_CACHE_STALE_CLASSES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/common/size_class.h"

// Less than this is not worth a visit to all caches.
#define LEFT_MIN_BYTES ((uint64_t)8 << 20)

// Marks the classes of which no block was taken since the last call, by any thread, and of which
// LEFT_MIN_BYTES and more are free. It does not mark those of which none ever was: `warmed` blocks
// of a class were made for what is to come. False where there are none. Any thread, without a lock.
bool stale_classes_find(_Atomic uint64_t warmed[SIZE_CLASS_END], bool left[SIZE_CLASS_END]);

#endif
