// names - C++ names: readable, and short.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_NAMES_H
#define TIDEPOOL_SHIM_CLI_PROFILE_NAMES_H

#include <stddef.h>

// A name of a symbol table without what compilers put behind it, and demangled where it is C++ and
// the machine has a libstdc++ to ask. A copy in any case, to be freed; NULL where nothing is left
// of the name, or it is too long for one.
char *name_demangle(const char *name);

// Where the function's own name starts in "RESULT scope<...>::name<...>(arguments)", and where it
// ends. A name that is not C++ is all its own.
const char *name_start(const char *demangled, const char **end);

// Without result, arguments and anonymous namespaces, and with std::string for what that is in
// full; cut where there is no more room.
void name_shorten(const char *demangled, char *out, size_t size);

#endif
