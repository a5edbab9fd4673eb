// profile - reads the text heap profile of jemalloc, jeprof, pprof and tidepool.
//
//   heap_v2/RATE
//     t*: blocks: bytes [blocks: bytes]      the sum over all stacks, not needed
//   @ 0xPC 0xPC ...                          a stack, innermost first; return addresses
//     t*: blocks: bytes [blocks: bytes]      live now, and ever; threads' own lines are ignored
//   MAPPED_LIBRARIES:
//     lines of /proc/PID/maps
//   # name 0xFRAME LANGUAGE FUNCTION FILE LINE   what a number in a stack stands for; with tabs
//   # build-id PATH HEX                      anywhere; so are pid, interval_bytes, samples,
//                                            dropped and outside_bytes with a number; another # is
//                                            a comment
//
// Where RATE is above 1 a block stands for others that were not sampled, the more the smaller it
// is. The numbers that come out here are estimates of all of them. Pure: text in, arrays out.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_PROFILE_H
#define TIDEPOOL_SHIM_CLI_PROFILE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROFILE_DEPTH_MAX = 1024 }; // frames of a stack; what called them is left out

struct profile_stack {
    size_t first; // in pcs, innermost first
    size_t depth;
    double bytes, blocks;
};

struct profile_map {
    uint64_t start, end, offset;
    bool executable;
    char *path; // "" where nothing is mapped
};

// A frame of an interpreter's.
struct profile_name {
    uint64_t pc;
    char *language, *function, *file; // the first is the text of all
    unsigned line;                    // 0: unknown
};

struct profile_build {
    char *path, *id; // lower-case hexadecimal
};

struct profile {
    uint64_t rate;
    uint64_t pid, interval_bytes, samples, dropped; // 0 where it does not say
    uint64_t outside_bytes;                         // of memory that did not come from malloc
    uint64_t *pcs;
    struct profile_stack *stacks;
    struct profile_map *maps; // ascending, disjoint
    struct profile_build *builds;
    struct profile_name *names; // ascending
    size_t pc_count, stack_count, map_count, build_count, name_count;
    size_t pc_room, stack_room, map_room, build_room, name_room;
    size_t bad_lines; // lines that say nothing in this format, or too much
    bool mapped;      // MAPPED_LIBRARIES was there: without it the file was cut short
};

// 0, or -EINVAL where the text is no such profile at all. A profile that ends early, or has lines
// that make no sense, is read as far as it goes.
int profile_parse(const char *text, size_t size, struct profile *p);

// The mapping that holds this address, or NULL.
const struct profile_map *profile_find_map(const struct profile *p, uint64_t pc);

// The name that stands for itself in a stack, or NULL.
const struct profile_name *profile_find_name(const struct profile *p, uint64_t pc);

void profile_free(struct profile *p);

#endif
