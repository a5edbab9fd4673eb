// prefetch - files read ahead beside the program, by the worker.
//
// A caller leaves a job: a range of addresses, and which file is there. The worker populates it
// (MADV_POPULATE_READ) in steps of 2 MiB, as long as the table says that the file is still there.
// Pages then come by page faults, with the read-ahead and the large folios that the filesystem
// gives those. MADV_WILLNEED gets 4 KiB folios, and a later reader pays for each. A cold GiB, read
// from its start at once, takes 1.2 s without prefetch, 0.85 s with WILLNEED and 0.5 s this way.
// Files in memory (tmpfs) must not come here: their holes would be filled.
//
// Where the file is not known, or the kernel cannot populate, it is WILLNEED after all, in steps of
// 128 KiB. Many disks' read-ahead allows no more for one call.
//
// Without a worker the caller does the first MiB itself, by WILLNEED.
#ifndef TIDEPOOL_MFILE_PREFETCH_H
#define TIDEPOOL_MFILE_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

// By the worker: one job. `between` is called every 2 MiB. False: there was none.
bool prefetch_work(bool (*between)(void));

// Is there a job?
bool prefetch_waits(void);

// Whole pages; inode 0 where the file is not known. Safe anywhere.
void prefetch_post(uint64_t start, uint64_t end, uint64_t inode, uint32_t dev);

// How many bytes may be read ahead now; set it once. NULL: any number. What is beyond, a file of
// more than there is memory for, is left to the kernel.
extern uint64_t (*prefetch_room)(void);

void prefetch_postfork_child(void);

#endif
