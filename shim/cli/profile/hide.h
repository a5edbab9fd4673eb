// hide - which functions are only the way to the allocator.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_HIDE_H
#define TIDEPOOL_SHIM_CLI_PROFILE_HIDE_H

#include <stdbool.h>

// Asked from the innermost frame outwards, until it says no. The function is demangled, or NULL;
// the module is a path.
bool hide_frame(const char *function, const char *module);

// Is that an interpreter's own: its C code, or the functions that load modules? It is of no use in
// a stack that names what it runs.
bool hide_interpreter(const char *module, const char *file);

#endif
