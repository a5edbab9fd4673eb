// init - the life of the library in a process: settings, start, fork, exit.
//
// Nothing waits for the constructor: ld.so, other libraries' constructors and threads of theirs
// may allocate before it has run, and are served by jemalloc until the environment is there.
//
// Lock order, over the whole library: the cache registry's, a transfer cache's, jemalloc's, the
// region's; beside them, a leaf that no mapping call waits for, the table of mapped files. See also
// shim/atfork.h.
#ifndef TIDEPOOL_SHIM_INIT_H
#define TIDEPOOL_SHIM_INIT_H

#include <stdbool.h>

#include "shim/config/config.h"

// Brings the pools up, once. False while that cannot be: too early in the process's life, or this
// thread is at it, or inside jemalloc, further up its stack. Where another one is, waits for it for
// a tenth of a second at most.
bool boot_pools(void);

// Around a fork: waits for a start that is under way, ten seconds at most; and in the child, gives
// up one whose thread is not there.
void boot_settle(void);
void boot_child(void);

// A limit on address space was found or set: what jemalloc frees of it from now on goes back whole.
void boot_spare_address_space(void);

// The settings in force; the defaults until the environment has been read.
extern struct config boot_config;

#endif
