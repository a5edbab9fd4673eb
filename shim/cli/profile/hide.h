// hide - which functions are only the way to the allocator.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_HIDE_H
#define TIDEPOOL_SHIM_CLI_PROFILE_HIDE_H

#include <stdbool.h>

// Asked from the innermost frame outwards, until it says no. The function is demangled, or NULL;
// the module is a path.
bool hide_frame(const char *function, const char *module);

#endif
