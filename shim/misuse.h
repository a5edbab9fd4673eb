// misuse - what happens when a program frees what it must not: TIDEPOOL_CHECK.
#ifndef TIDEPOOL_SHIM_MISUSE_H
#define TIDEPOOL_SHIM_MISUSE_H

#include <stdint.h>

// One line that names the misuse and the address, one with where it happened, one with where the
// block was allocated where that is known (`depth` frames), and then abort(), or a return where
// TIDEPOOL_CHECK is warn or off (silent). The block is left as it is.
void misuse_report(const char *what, const void *ptr, const uintptr_t *allocated, unsigned depth);

#endif
