// perfmap - perf-PID.map: names for code that a runtime made while it ran.
#ifndef TIDEPOOL_SHIM_CLI_SYMBOLS_PERFMAP_H
#define TIDEPOOL_SHIM_CLI_SYMBOLS_PERFMAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct perfmap_entry {
    uint64_t start, size;
    const char *name; // in text
};

struct perfmap {
    char *text;
    struct perfmap_entry *entries; // ascending
    size_t count, room;
};

// The map of process `pid`; where that is 0, of the one that the profile's file name holds the
// number of. It is looked for beside the profile, then in ROOT/tmp ("" is this machine's). The
// number is the process's own, as its container has it. Standard input ("-") is beside nothing. The
// map has to belong to the owner of the profile. Empty where there is none.
void perfmap_load(struct perfmap *m, const char *profile_path, const char *root, uid_t owner,
                  uint64_t pid);

// Lines of "START SIZE NAME", both hexadecimal. Changes the text, which ends in a NUL, and keeps
// it.
void perfmap_parse(struct perfmap *m, char *text);

const char *perfmap_find(const struct perfmap *m, uint64_t pc);
void perfmap_free(struct perfmap *m);

#endif
