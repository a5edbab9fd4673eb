// module - names for the addresses in one mapped file.
#ifndef TIDEPOOL_SHIM_CLI_SYMBOLS_MODULE_H
#define TIDEPOOL_SHIM_CLI_SYMBOLS_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "shim/cli/profile/profile.h"
#include "shim/cli/profile/stacks.h"
#include "shim/cli/symbols/elf.h"
#include "shim/cli/symbols/made_name.h"

struct address {
    uint64_t pc;     // within the call, not behind it
    uint64_t offset; // in the file; then as the linker counted
    const struct profile_map *map;
    uint32_t module;     // number of the path
    size_t first, depth; // of its frames, the innermost inlined one first
    enum made_kind kind; // of the code there
};

// The frames of all addresses, by number.
struct places {
    struct stacks *out;
    uint32_t *frames;
    size_t count, room;
};

// One more frame around what the address has.
void places_add(struct places *p, struct address *a, const char *function, const char *file,
                unsigned line, const char *module);

struct module {
    struct places *places;
    const struct profile *profile;
    time_t profile_time; // when it was written; 0: unknown
    const char *root;    // "" or where the machine of the profile begins here
    bool *no_tool;       // said already
    struct address *addresses;
    size_t count;
    const char *mapped; // as the profile says it
    const char *path;   // without " (deleted)"
    const char *base;   // and without folders
    const char *here;   // where it is to be opened
    struct elf own, debug;
};

// Every address gets a frame. False where there is no such file here, or none that can be read.
bool module_name(struct module *m);

#endif
