// policy - which advice a file gets: "GLOB=HINT[,HINT...];GLOB=...", the first that matches.
//
// Pure. In a glob * stands for any characters, slashes too, ? for one, and \ takes away the meaning
// of the next one. A glob with a slash is compared with the whole path, as the kernel knows it;
// one without, with the last part of it.
#ifndef TIDEPOOL_MFILE_PARSE_POLICY_H
#define TIDEPOOL_MFILE_PARSE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    HINT_PREFETCH = 1 << 0,   // read ahead, all of it, beside the program
    HINT_POPULATE = 1 << 1,   // read and map before mmap() returns
    HINT_SEQUENTIAL = 1 << 2, // read far ahead, forget soon
    HINT_RANDOM = 1 << 3,     // do not read ahead
    HINT_HUGEPAGE = 1 << 4,
    HINT_MERGEABLE = 1 << 5,
    HINT_COLD = 1 << 6,     // marked cold from Moderate on, in use or not
    HINT_LAZYFREE = 1 << 7, // marked cold from High on where idle, paged out at Critical
    HINT_DONTDUMP = 1 << 8, // not in core files
    HINT_KEEP = 1 << 9,     // left alone: ends the search for a rule
    HINTS = 10,

    // Those that have to be given when the file is mapped; the others can wait for the worker.
    HINT_AT_ONCE = HINT_PREFETCH | HINT_POPULATE | HINT_SEQUENTIAL | HINT_RANDOM | HINT_HUGEPAGE |
                   HINT_MERGEABLE | HINT_DONTDUMP,
    HINT_ON_PRESSURE = HINT_COLD | HINT_LAZYFREE,

    POLICY_RULES_MAX = 32,
};

struct policy {
    unsigned count;
    uint16_t all; // the hints of all rules
    struct policy_rule {
        const char *glob; // in the text that was parsed
        unsigned length;
        uint16_t hints;
    } rule[POLICY_RULES_MAX];
};

// Whole texts; false leaves *out alone. Refused are hints that contradict each other: sequential
// and random, keep and those that give memory up. The text must outlive the policy.
bool policy_parse(const char *text, struct policy *out);

// Does [glob, end) match all of `name`? * and ? stand for anything, slashes too, and a backslash
// takes their meaning away.
bool policy_glob_matches(const char *glob, const char *end, const char *name);

// The rule for a path: its number, or -1.
int policy_find(const struct policy *policy, const char *path);

#endif
