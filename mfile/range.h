// range - advice that the program asks for, on any mapping of its own: what is legal is found in
// /proc/self/maps, which is always right, and not in the table.
//
// Results are 0 or -errno: -EINVAL for a range that wraps or ends in the last page of all, else the
// kernel's. -ENOMEM where something of the range is not mapped: the rest is done, as by madvise().
#ifndef TIDEPOOL_MFILE_RANGE_H
#define TIDEPOOL_MFILE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "mfile/advise.h"

// Whole pages inside the range: FREE where memory is anonymous and private, COLD elsewhere. *bytes
// becomes what was advised.
int range_free_lazy(uint64_t address, uint64_t length, uint64_t *bytes);

// All pages that the range touches, as far as their files go; what has no file is left alone. Does
// not wait for the disk.
int range_prefetch(uint64_t address, uint64_t length);

// Punches holes into the files: the data is gone, for every reader. Only whole pages inside the
// range, and only on shared and writable mappings of files; else nothing is done and -EACCES is
// returned. Nothing is done either where a part is not mapped.
int range_remove(uint64_t address, uint64_t length);

// Any advice but FREE and REMOVE, which have the ways above. COLD and PAGEOUT to whole pages
// inside, the rest to all that is touched.
int range_advise(enum advice advice, uint64_t address, uint64_t length);

// Puts the files of the range at the watchdog's disposal (`lazy`; -EINVAL where there are none), or
// takes them away from it.
int range_opt(uint64_t address, uint64_t length, bool lazy);

// Has a program put a range at our disposal?
bool range_opted(void);

#endif
