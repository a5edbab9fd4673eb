// dump - heap profiles on disk: when, where, and how many.
//
// Written at exit, on request, and when memory gets short, before a process is killed for it. Those
// of the last kind come no faster than one in 10 s, and a process keeps its last few.
#ifndef TIDEPOOL_SHIM_PROFILE_DUMP_H
#define TIDEPOOL_SHIM_PROFILE_DUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/config/config.h"

void dump_init(const struct config *config);

// Writes the profile now, for the reason named, and says so in one line. Any thread; allocates
// nothing. 0, or -errno: -EBUSY while another is being written, -ENODEV where nothing is sampled.
// On success *path is where, without the suffix, and stays until the next dump.
int dump_write(const char *why, const char **path);

// dump_write() for memory that runs out, with a limit on how often and how many. Leaves errno
// alone.
void dump_in_need(void);

uint64_t dump_written(void);
uint64_t dump_failed(void);

// In the child of a fork.
void dump_child(void);

#endif
