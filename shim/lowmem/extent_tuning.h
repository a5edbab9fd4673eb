// extent_tuning - how much free memory may lie together with jemalloc and stay.
//
// Where free pages that lie together come to 8 MiB, jemalloc gives them back at once, not after the
// decay. It serves what is that large from an arena that keeps nothing. A program whose buffers
// have some MiB pays faults for most of them, ten times the time of the rest. But a small container
// does not have the room for more: its neighbours, or the program's own mappings, need what was
// freed there sooner than the next evaluation. So it is a part of the limit.
//
// Nor does it cut an extent of more than 64 times the size that is asked for. What was freed and
// grew together lies there until it decays, beside what is taken anew. A program that took and
// freed 100 MiB in blocks of 64 KiB, again and again, came to 1.8 GiB. So any is cut while memory
// is plenty. Where memory is short all that is free goes back soon, and there it is as shipped.
// Small blocks in each large extent would keep it from being given back as a whole.
#ifndef TIDEPOOL_SHIM_LOWMEM_EXTENT_TUNING_H
#define TIDEPOOL_SHIM_LOWMEM_EXTENT_TUNING_H

#include <stdbool.h>
#include <stdint.h>

// Once, after jemalloc has read its options.
void oversize_init(void);

// The limit that memory is nearest to; called when it changes, by one thread at a time. Does
// nothing where the user chose a threshold (MALLOC_CONF).
void oversize_set_limit(uint64_t limit_bytes);

// Is memory short? Any thread; does nothing where the user chose a fit.
void oversize_set_short(bool is_short);

#endif
