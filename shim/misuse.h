// misuse - what happens when a program frees what it must not: TIDEPOOL_ON_MISUSE.
#ifndef TIDEPOOL_SHIM_MISUSE_H
#define TIDEPOOL_SHIM_MISUSE_H

#include <stdint.h>

// Prints one line that names the misuse and the address, one with where it happened, and one with
// where the block was allocated, if that is known (`depth` frames). Then it aborts, or returns
// where TIDEPOOL_ON_MISUSE is warn or off (silent). The block is left as it is.
void misuse_report(const char *what, const void *ptr, const uintptr_t *allocated, unsigned depth);

#endif
