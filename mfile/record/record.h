// record - the table of mappings between threads: which may touch it, and in which order.
//
// A mapping call can come from anywhere: from a signal handler that interrupted another one, in a
// thread that a garbage collector stopped half way, beside a watchdog that reads. So no thread ever
// waits for the table. A thread that finds it taken leaves a note in a ring and goes on; the holder
// works the notes off before and after it lets go. A note costs some 30 ns.
//
// The order is what makes the table true. The kernel hands an address out again as soon as it is
// unmapped, so
//
//   what goes     leaves the table before the system call (munmap, the target of MAP_FIXED, the
//                 source of mremap)
//   what comes    enters it after the system call
//
// Then the note of a thread that is given a range stands behind the note of the one that gave it
// up, whatever the scheduler does. Giving up is noted, then done; being given is done, then noted.
// Between the two the kernel has more mappings than the table, never fewer. Threads that unmap
// ranges which others are just being given, without knowing of them, are not ordered by this, nor
// by anything else. A call that fails after its note, and a note that found the ring full, make the
// table doubtful: record_check() then reads /proc/self/maps, while others go on leaving notes.
//
// What libc and ld.so map and unmap for themselves (libraries, thread stacks, files of stdio)
// passes no interposer. record_check() finds it. Until then such a range may be missing, or be
// there and belong to something else. Therefore nothing may be done to a range of the table that
// could harm another mapping.
//
// A handler that leaves a mapping call for good by siglongjmp, in the few instructions that hold
// the table, leaves it taken. Then no more changes are seen and no more advice is given; nothing
// else breaks.
#ifndef TIDEPOOL_MFILE_RECORD_RECORD_H
#define TIDEPOOL_MFILE_RECORD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mfile/record/table.h"

// Around a system call that takes mappings away, with its note in between.
void record_begin(void);
void record_end(void);

void record_remove(uint64_t start, uint64_t end);
void record_put(const struct mapping *m);

// mremap: takes the range out and keeps it aside; the number names it, 0 where nothing is. Then it
// comes back at `to`, `length` bytes of it (the last mapping grows or shrinks), or with `copy` at
// both places.
uint64_t record_lift(uint64_t start, uint64_t end);
void record_drop(uint64_t number, uint64_t start, uint64_t end, uint64_t to, uint64_t length,
                 bool copy);
// mremap of length 0: another mapping of what is mapped at `from`.
void record_copy(uint64_t from, uint64_t to, uint64_t length);

// The program has a use for the range now.
void record_use(uint64_t start, uint64_t end);

// Sets and clears hints on what is mapped there.
void record_hint(uint64_t start, uint64_t end, uint16_t set, uint16_t clear);

enum record_mark { RECORD_COOLED, RECORD_PAGED, RECORD_EXCLUDED };
void record_mark(uint64_t start, uint64_t end, enum record_mark what);

// Something changed that no note tells of.
void record_doubt(void);
bool record_is_doubtful(void);

// Makes the table equal to /proc/self/maps if it is doubtful, or if `anyway`. False: it could not
// be, now; too much was going on. Takes about 0.5 us a mapping; not in signal handlers.
bool record_check(bool anyway);

// Like record_check(), if the table is doubtful or the last check, by any thread, is that long ago;
// by record_now().
void record_refresh(uint32_t age);

// Did mappings come since then that no rule was asked for?
bool record_has_unruled(void);

// Mappings that were put with MAPPING_FRESH and are still there: they are asked for once, in any
// order. How many, at most `count`.
unsigned record_fresh(struct mapping *out, unsigned count);

// The answer: `known` has inode, device and hints of what the kernel had at the start of `asked`,
// or is NULL where that was something else. True: it is MAPPING_RULED now, and *known becomes what
// is left of it.
bool record_answer(const struct mapping *asked, struct mapping *known);

// Is there something to ask for, or an answer missing, or a note that may bring something?
bool record_waits(void);

// The hints for a path that the policy knows; set it once. NULL: none.
extern uint16_t (*record_rule)(const char *path);

// Copies up to `count` mappings from `address` on; how many there were. False in *ok: the table was
// taken all the time.
unsigned record_read(uint64_t address, struct mapping *out, unsigned count, bool *ok);

// The hints of all mappings there, as far as the table knows and is free: does not wait.
uint16_t record_hints(uint64_t start, uint64_t end);

// Notes that found the ring full.
uint64_t record_lost(void);

// The clock of `used`, `cooled` and `paged`: 16 a second. Tests have their own.
extern uint32_t (*record_now)(void);

// Around fork. In the child the table is the parent's, or empty and doubtful.
void record_prefork(void);
void record_postfork_parent(void);
void record_postfork_child(void);

// madvise(MADV_DONTFORK): what the child gets is not what the table says.
void record_fork_differs(void);

#endif
