// lazy - what is given up when memory is short: pages of files that the policy, or the program, put
// at our disposal. Their contents stay on the disk, and come back when they are touched.
//
//   Moderate   `cold` mappings are marked cold
//   High       and `lazyfree` ones that were not mapped, moved or advised for a second
//   Critical   and all `lazyfree` ones; if that was not enough by the next call, they are paged
//   out,
//              the one whose last use is the longest ago first, until as much is free as is needed
//
// Marked cold, a page moves from the active list of its cgroup to the inactive one: it no longer
// counts as used there, and is the first to go. Only pages that this process has mapped, and no
// other one, are moved. Dirty pages are left to the kernel's writeback. Paging out does nothing for
// a file that is neither ours nor writable by us, and returns no error. So resident pages before
// and after are compared; for such files mincore() reports all pages as resident.
//
// By the watchdog's thread only.
#ifndef TIDEPOOL_MFILE_LAZY_H
#define TIDEPOOL_MFILE_LAZY_H

#include <stdint.h>

enum lazy_level { LAZY_NORMAL, LAZY_MODERATE, LAZY_HIGH, LAZY_CRITICAL };

// Works for some 50 ms at most; what it did not come to is done by the next call. `need_bytes` is
// how much should be paged out at Critical.
void lazy_relieve(enum lazy_level level, uint64_t need_bytes);

// What the 50 ms are counted by; tests have their own.
extern uint64_t (*lazy_now_us)(void);

// Bytes that were resident and are not any more, because of us, ever.
uint64_t lazy_freed_bytes(void);
void lazy_count_freed(uint64_t bytes);

// How much of [start, end) is in memory; by sampling 512 pages where there are more.
uint64_t lazy_resident_bytes(uint64_t start, uint64_t end);

#endif
