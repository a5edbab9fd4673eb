// misuse - what happens when a program frees what it must not: TIDEPOOL_ON_MISUSE.
#ifndef TIDEPOOL_SHIM_PROFILE_MISUSE_H
#define TIDEPOOL_SHIM_PROFILE_MISUSE_H

#include <stdint.h>

#include "shim/config/config.h"

enum misuse { MISUSE_DOUBLE_FREE, MISUSE_INVALID_FREE, MISUSES };

// How many were reported, or passed in silence.
uint64_t misuse_count(enum misuse misuse);

// What is done about it from now on; before, the program is aborted.
void misuse_init(enum config_check on_misuse);

// Counts it. Prints one line that names the misuse and the address, one with where it happened, and
// one with where the block was allocated, if that is known (`depth` frames). Then it aborts, or
// returns where TIDEPOOL_ON_MISUSE is warn or off (silent). The block is left as it is.
void misuse_report(enum misuse misuse, const void *ptr, const uintptr_t *allocated, unsigned depth);

#endif
