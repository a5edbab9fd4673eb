// symbols - from the addresses of a profile to frames with names.
//
// For each file that was mapped: its lines and inlined functions by lines.c, where it or its debug
// file (/usr/lib/debug/.build-id) has them. Else the function by its symbol table; else the file's
// name and the offset. Code that was made at run time is named by perf-PID.map, which node
// --perf-basic-prof and other runtimes write. Where that names a function of the program's, the
// runtime's own frames are left out.
#ifndef TIDEPOOL_SHIM_CLI_SYMBOLS_SYMBOLS_H
#define TIDEPOOL_SHIM_CLI_SYMBOLS_SYMBOLS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "shim/cli/profile/profile.h"
#include "shim/cli/profile/stacks.h"

struct symbols_options {
    bool all_frames;  // the allocator's own frames, too
    int side;         // of the stacks that are added
    const char *root; // where the mapped files are, put before their paths; or NULL
};

// Adds every stack of the profile, which was read from that path and was such a file. What is in
// the way of good names is said in a line each on stderr.
void symbols_resolve(const struct profile *p, const char *path, const struct stat *file,
                     const struct symbols_options *o, struct stacks *out);

#endif
