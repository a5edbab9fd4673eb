// made_name - what a runtime calls the code that it made, by its line in perf-PID.map.
//
// V8 writes "JS:*function file:line:column", with a mark for the compiler that made it, and
// "Builtin:name". HotSpot writes "type package.Class.method(types)", and plain words for stubs and
// its interpreter. Names of other runtimes stay as they are.
#ifndef TIDEPOOL_SHIM_CLI_SYMBOLS_MADE_NAME_H
#define TIDEPOOL_SHIM_CLI_SYMBOLS_MADE_NAME_H

#include <stdbool.h>

enum { MADE_NAME_MAX = 1024 };

enum made_kind {
    MADE_NONE,    // code that no runtime made
    MADE_STUB,    // the runtime's: glue, or what stands for any function that is interpreted
    MADE_LIBRARY, // a function of the library that comes with the runtime
    MADE_OWN,     // a function of the program's
};

struct made_name {
    char function[MADE_NAME_MAX], file[MADE_NAME_MAX];
    unsigned line; // 0: unknown, and file ""
    enum made_kind kind;
};

void made_name_parse(struct made_name *m, const char *text, bool is_jvm);

#endif
