// heap_profile - the samples as text, for jeprof, pprof and tidepool report.
//
//   heap_v2/1                                    1: estimates already, nothing scales them
//     t*: blocks: bytes [blocks: bytes]          live, and ever; over all stacks
//   # ...                                        what wrote it, and when
//   # build-id PATH HEX                          of each file that code is mapped from
//   # name 0xFRAME LANGUAGE FUNCTION FILE LINE   of an interpreter's frame; tabs from LANGUAGE on
//   @ 0xPC 0xPC ...                              a stack, innermost first; return addresses
//     t*: blocks: bytes [blocks: bytes]
//   MAPPED_LIBRARIES:
//   lines of /proc/self/maps
//
// Folded stacks have a line for each stack: MODULE+0xOFFSET;...;MODULE+0xOFFSET BYTES, outermost
// first, what is live only. A named frame is LANGUAGE:FUNCTION:FILE:LINE there.
//
// Written in the moment in which memory runs out: nothing is allocated, no lock is taken, and each
// system call is a raw one, which is no cancellation point. It works in memory of its own, so that
// any thread's stack is large enough. Only one thread at a time may be in here; the caller sees to
// that.
#ifndef TIDEPOOL_EXPORT_HEAP_HEAP_PROFILE_H
#define TIDEPOOL_EXPORT_HEAP_HEAP_PROFILE_H

#include <stdint.h>

struct heap_profile_info {
    const char *why;         // "exit"
    uint64_t interval_bytes; // as it was asked for
    uint64_t samples, dropped;
    uint64_t outside_bytes; // see export/outside.h
    uint64_t unix_s;
};

// To a descriptor; 0 or -errno.
int heap_profile_write(int fd, const struct heap_profile_info *info);
int heap_profile_write_folded(int fd);

// To DIR/tidepool-PID-NUMBER.heap and .folded, readable by their owner alone, which appear whole or
// not at all; the folder may be one that other users write to (heap_folder.h). Where another user
// has taken these names, *number becomes one that cannot be guessed. Writes the path of the first,
// without its suffix, where it fits. 0 or -errno.
int heap_profile_dump(const char *dir, unsigned *number, const struct heap_profile_info *info,
                      char *path, unsigned size);

// How many numbers, from 1 on, files of other processes have used up. In a container that is
// started again the first process has the pid of the one before, whose profile may say why that one
// ended. From 16 on it is 0 again, and the oldest are written over.
unsigned heap_profile_taken(const char *dir);

// Takes both files away again.
void heap_profile_remove(const char *dir, unsigned number);

#endif
