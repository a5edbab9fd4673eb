// record_inside - what only the parts of the record share. record.c is what callers note and read,
// record_ring.c the ring of notes and the table's holder, record_apply.c what a note does to the
// table. record_fresh.c has the mappings that no rule was asked for yet, record_check.c compares
// the table with /proc/self/maps, and record_fork.c is for fork().
#ifndef TIDEPOOL_MFILE_RECORD_RECORD_INSIDE_H
#define TIDEPOOL_MFILE_RECORD_RECORD_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "mfile/record/record.h"

enum note_kind {
    NOTE_PUT,
    NOTE_REMOVE,
    NOTE_LIFT,
    NOTE_DROP,
    NOTE_COPY,
    NOTE_USE,
    NOTE_HINT,
    NOTE_MARK,
};

struct note {
    enum note_kind kind;
    uint64_t number; // of a lift
    uint64_t to, length;
    uint16_t set, clear;
    bool copy;
    enum record_mark mark;
    struct mapping m; // the range, and all of it for NOTE_PUT
};

extern struct record {
    _Atomic uint64_t tail, head; // turns of the ring given out, turns worked off
    _Atomic pthread_t taken;     // the table's holder; 0: none
    _Atomic int32_t flying;      // calls between their note and their end
    _Atomic uint32_t count;      // of the table's entries, for threads that do not hold it
    _Atomic bool doubtful;
    _Atomic bool missed;           // a fresh mapping is not in the table: its note was lost
    _Atomic bool unruled;          // a mapping came that no rule was asked for: record_check() asks
    _Atomic uint32_t recent_count; // of the ranges that are searched for fresh mappings
    _Atomic uint32_t unanswered;   // of the fresh mappings that were asked for
    // Only by the table's holder.
    uint32_t serial; // of a fresh mapping, in place of its device
    struct table *table;
} record;

// One of them is record.table, the other is empty but while the first is checked.
extern struct table record_tables[2];

// Applies the note, or leaves it in the ring for the table's holder; never waits.
void record_tell(struct note *n);

// For callers that can wait; never in a mapping call. False: the table was taken all the time.
bool record_take(unsigned ms);

// Works off what came meanwhile, too.
void record_let_go(void);

// Between two tries; 50 us.
void record_nap(void);

// By the table's holder, like all functions that follow.
void record_work_off(void);
void record_apply(struct note *n);

// Forgets what was lifted.
void record_forget_aside(void);

// Fresh mappings may lie there.
void record_note_recent(uint64_t start, uint64_t end);

// Any thread, without the table.
static inline uint32_t record_recents(void)
{
    return atomic_load_explicit(&record.recent_count, memory_order_relaxed);
}

static inline void record_set_recents(uint32_t n)
{
    atomic_store_explicit(&record.recent_count, n, memory_order_relaxed);
}

#endif
