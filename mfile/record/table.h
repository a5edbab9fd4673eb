// table - disjoint ranges of addresses in order, each with what is known of its mapping.
//
// Pure: no clock, no lock, no file; one caller at a time (record.h sees to that). A leaf holds up
// to 32 entries in order, and a directory the leaves in order. So finding, adding and cutting take
// two binary searches and move less than 2 KiB, with ten mappings or a hundred thousand. At most
// one call in sixteen splits or joins leaves, and moves 16 bytes of the directory for each leaf
// behind. Memory comes from raw mmap, 64 KiB at a time, and is kept for the next entry.
#ifndef TIDEPOOL_MFILE_RECORD_TABLE_H
#define TIDEPOOL_MFILE_RECORD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAPPING_SHARED = 1,   // MAP_SHARED: what is written reaches the file
    MAPPING_RULED = 2,    // the policy was asked, or the program: `hints` is the answer
    MAPPING_EXCLUDED = 4, // refuses advice (locked, a device): not tried again
    MAPPING_FRESH = 8, // just mapped: the policy will be asked, and its hints given, by the worker
};

// One file mapping or a part of it. Addresses are multiples of the page size.
struct mapping {
    uint64_t start, end;
    uint64_t offset; // in the file, of start
    uint64_t inode;  // 0: not known yet
    uint32_t dev;    // as /proc/self/maps has it: major << 20 | minor; FRESH: a number of record's
    uint32_t used;   // when the program last mapped, moved or advised it; table's caller's clock
    uint32_t cooled, paged; // when it was last marked cold, paged out; same clock, 0: never
    uint16_t hints;         // a bit for each hint of policy.h
    uint8_t prot;           // PROT_*, as it was mapped or last seen
    uint8_t flags;          // MAPPING_*
};

enum { TABLE_LEAF = 32, TABLE_LEAVES_MAX = 16384 };

struct table_leaf {
    uint32_t count;
    struct table_leaf *next_free;
    struct mapping entry[TABLE_LEAF];
};

// Zero-filled is an empty table.
struct table {
    uint32_t leaf_count, entry_count;
    uint32_t last;                    // the leaf that was found last; any number will do
    uint64_t first[TABLE_LEAVES_MAX]; // of each leaf, its first start
    struct table_leaf *leaf[TABLE_LEAVES_MAX];
};

// Adds a mapping, in place of what was in its range, and joins it to a neighbour that continues it.
// False: no memory; what was there may be gone, the rest is unchanged.
bool table_put(struct table *t, const struct mapping *m);

// Takes [start, end) out of the table, splitting what reaches beyond, and hands each piece to
// `taken` (NULL: not at all). False: no memory for a split; more than asked for was taken then.
bool table_cut(struct table *t, uint64_t start, uint64_t end,
               void (*taken)(void *arg, const struct mapping *m), void *arg);

// The mapping at `address`, or the next one above it; NULL past the last. Valid until the table
// changes. The caller may write any field but start and end.
struct mapping *table_find(struct table *t, uint64_t address);

void table_clear(struct table *t);

// Do the two differ in nothing but place, so that the second continues the first?
bool table_continues(const struct mapping *first, const struct mapping *second);

// Forgets every leaf that any table has, without touching one: in the child of a fork, where some
// other thread was half way through a change.
void table_forget_all(void);

#endif
