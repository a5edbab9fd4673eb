// lines - asks llvm-symbolizer, or addr2line, for functions and lines: one child process
// for all addresses of a file.
//
// The child is given no shell, a fixed list of arguments and LIMIT_S seconds. One that is missing,
// dies, or talks nonsense costs its answers and nothing else.
#ifndef TIDEPOOL_SHIM_CLI_SYMBOLS_LINES_H
#define TIDEPOOL_SHIM_CLI_SYMBOLS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINES_DEPTH_MAX = 64 }; // functions inlined into one another at one address

struct lines_frame {
    const char *function; // demangled; NULL where unknown
    const char *file;     // NULL where unknown
    unsigned line;
};

// Called once for each address that has an answer: the innermost inlined function first.
typedef void lines_fn(void *arg, size_t index, const struct lines_frame *frames, size_t count);

enum lines_result { LINES_OK, LINES_NO_TOOL, LINES_FAILED };

enum lines_result lines_ask(const char *file, const uint64_t *addresses, size_t count, lines_fn *fn,
                            void *arg);

// What the tools print; changes the text, which ends in a NUL. For each address a line "0x...",
// then pairs of lines: a function, a file:line. False where it is something else.
bool lines_parse(char *text, const uint64_t *addresses, size_t count, lines_fn *fn, void *arg);

#endif
