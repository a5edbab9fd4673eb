// launcher_names - C++ names: readable, and short.
#ifndef TIDEPOOL_SHIM_LAUNCHER_NAMES_H
#define TIDEPOOL_SHIM_LAUNCHER_NAMES_H

#include <stddef.h>

// A name of a symbol table without what compilers put behind it, and demangled where it is C++ and
// the machine has a libstdc++ to ask. To be freed; NULL where nothing is to be done.
char *name_demangle(const char *name);

// Where the function's own name starts in "RESULT scope<...>::name<...>(arguments)", and where it
// ends. A name that is not C++ is all its own.
const char *name_start(const char *demangled, const char **end);

// Without result and arguments, and with std::string for what that is in full.
void name_shorten(const char *demangled, char *out, size_t size);

#endif
