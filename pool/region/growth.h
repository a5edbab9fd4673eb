// growth - blocks that realloc() made larger, and how large such blocks become.
//
// A buffer that grows to 1 MiB by small steps passes through forty size classes, and each is a
// copy. So a block that has to move gets the class that the last four such blocks ended in at
// least: the rest is copied once. What that reserves beyond the request is 16 MiB at most in the
// process, and nothing while the caller says so, near a limit.
//
// Such a block has the state of a sampled one, so that free() comes by its slow way, and a note
// (region.h) of its largest size. The note of a sampled one is the number of a record, which is
// smaller.
//
// Any thread; a block belongs to its caller. No system calls; errno stays.
#ifndef TIDEPOOL_POOL_REGION_GROWTH_H
#define TIDEPOOL_POOL_REGION_GROWTH_H

#include <stdbool.h>
#include <stddef.h>

// For how much to ask for a block that grows to `size` bytes, a pooled size.
size_t growth_reserve(size_t size);

// `ptr` is a live block, not sampled, that was given for a growth to `size`. Where that was asked
// for with growth_reserve(), once.
void growth_begin(void *ptr, size_t size);

// Is `ptr`, an address of the region, such a block, and may it stay as it is with `size` bytes?
// False where that is three quarters or less of the largest size it had: see growth_stop().
bool growth_in_place(void *ptr, size_t size);

// It is free, and no other's yet: false where it was none. Takes its note off.
bool growth_end(void *ptr);

// The buffer has moved on to a block of `size` bytes: this one is as any other, and an example only
// where the pools have none as large.
void growth_leave(void *ptr, size_t size);

// The buffer has shrunk: its block is as any other from now on, and an example.
void growth_stop(void *ptr);

#endif
