// rules - the policy asked about what is mapped, and its hints given.
//
// A program that maps a file gives only a descriptor, and asking the kernel which file that is
// (fstat) costs more than all the rest that we do in mmap(). So the worker asks, a moment later.
// What was mapped is MAPPING_FRESH in the table until then. In mmap() itself it is asked
//
//   where a rule has `populate`, which promises something before mmap() returns
//   where the worker does not run: before the constructors, in the child of a fork
//
// What the worker gives may come to a range that was unmapped, and mapped to something else, since
// it asked: advice of the kinds that keep every byte (see advise.h).
#ifndef TIDEPOOL_MFILE_RULES_H
#define TIDEPOOL_MFILE_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "mfile/parse/policy.h"
#include "mfile/record/table.h"

// Before anything else here. The policy must stay valid for ever.
void rules_init(const struct policy *policy);

uint16_t rules_hints(const char *path);

// In mmap(): fills in device, inode and hints. fstat, and 3 us for the path of a file that was not
// seen before, or that changed. Keeps errno.
void rules_ask(int fd, struct mapping *m);

// The hints of a mapping that have to be given at once; `fd` is its file. Keeps errno.
void rules_give(int fd, const struct mapping *m);

// Gives the hints of any mapping there, those that are flags, to all of the range: what came to a
// part of it only had split it. False: there were none.
bool rules_level(uint64_t start, uint64_t end);

// By the worker: asks and gives for what is fresh. False: there was nothing, or it cannot be asked
// now.
bool rules_settle(void);

#endif
