// region - the address space in which every pooled block lies, and how they come from
// jemalloc. map.h says which block begins where.
//
// One range that begins at an address chosen once and grows upwards, mapped as it is needed. A
// jemalloc arena of its own takes its extents from it, so "is this pointer pooled?" is one
// subtraction and one compare, while jemalloc goes on doing page runs, coalescing and purging.
// Addresses inside are counted in units of 64 bytes from the base, so that a block's name fits 32
// bits. Every block starts on a unit; unit 0 is never a block.
//
// Nothing is reserved: the base lies far below the process's other mappings, and where one of these
// is met after all, the region has its final size. Blocks then come from jemalloc's own heap.
//
// A *run* is a block of any size that is on no list, for a request that is sampled and not of a
// pooled size. It is always marked so, and of classes of its own. The note outlives a sampled block
// or run until a block begins there again.
#ifndef TIDEPOOL_POOL_REGION_REGION_H
#define TIDEPOOL_POOL_REGION_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/region/map.h"

enum region_thp { REGION_THP_DEFAULT, REGION_THP_MADVISE, REGION_THP_NEVER };

// Chooses the region's place and creates its arena; call once, before any other function here.
// Returns 0, or -ENOMEM when no useful region could be had: then the process does without pools.
//
// Where the process's address space or data is limited (RLIMIT_AS, RLIMIT_DATA), now or later, the
// region grows to a quarter of the limit at most. Mapped space is not given back.
int region_init(enum region_thp thp);

// Called once, in the middle of a request and with locks held, when another mapping lies where the
// region would grow next. NULL for none. To be set after region_init(), which tries another place
// instead.
extern void (*region_on_wall)(const void *at);

// From now on the limits last read hold: a filter (seccomp) may kill for asking. Any thread; makes
// no system call.
void region_limits_are_final(void);

// A fresh live block of `class`, straight from jemalloc; NULL when out of memory or out of region.
// With `zero` its contents are zero, else undefined. Never touches errno.
void *region_block_new(unsigned class, bool zero);

// A fresh live run of at least `size` bytes; `alignment` is a power of two. NULL when memory or the
// region is used up. Counted as no block.
void *region_run_new(size_t size, size_t alignment, bool zero);

// What a program may use of a live run: what it would have got without sampling, and no less than
// nallocx() said. Otherwise sampled blocks would be resized in place more often than others.
size_t region_run_size(const void *ptr);

// Gives a run back to jemalloc.
void region_run_delete(void *ptr);

// Bytes of all live runs.
uint64_t region_run_bytes(void);

// Gives the whole pages of a fresh block that lie behind its first `size` bytes back to the kernel;
// they read as zero when they are touched again. Returns the block, which may begin earlier now: a
// coloured one keeps only as much of its offset as costs no page.
void *region_block_trim(void *ptr, size_t size);

// The smallest class for `size` bytes that begin where the block at `ptr` does. 0 where there is
// none, or where the class of either has no pages of its own (below 16 KiB).
unsigned region_class_in_place(const void *ptr, size_t size);

// Makes the calling thread's live block one of such a class where it lies: jemalloc takes what is
// behind, or gives it. It counts as released in its old class, and as created in the new one.
// False, and nothing has changed, where there is no room, the block is sampled, or pages are
// marked.
bool region_block_resize(void *ptr, unsigned class);

// Gives a block that no list holds back to jemalloc.
void region_block_delete(uint32_t unit);

// As free(3), of any block that a handler left: see guard_free_left in common/guard.h.
void region_free(void *ptr);

// Blocks of `class` that came from jemalloc, and that went back, ever. Any thread.
uint64_t region_created(unsigned class);
uint64_t region_released(unsigned class);

// Gives the arena's unused pages back to the kernel.
void region_purge(void);

// Bytes that may be used of a live block of jemalloc's. By a thread inside, too. jemalloc's map of
// extents can be read without its locks; but not by way of the thread's cache of that map, which
// the interrupted call may be changing. jemalloc 5.3: an entry has the size class above the
// address's 48 bits.
size_t region_je_size(const void *ptr);

// Around a fork, before jemalloc takes its locks and after. In the child, before anything is asked
// of the region.
void region_prefork(void);
void region_postfork_parent(void);
void region_postfork_child(void);

// Makes the block at `ptr`, an address in the region, no longer live, in one atomic step: of
// several threads that free one block one claims it. Says what it was.
enum region_claim { REGION_NOT_OUT, REGION_LIVE, REGION_LIVE_SAMPLED };
enum region_claim region_claim(const void *ptr);

// The first one makes each new block search for one that it has to clear.
void region_set_note(void *ptr, uint32_t note);

// Was a note ever set?
bool region_has_notes(void);

// The program has marked the pages of [at, end) (marks.h). Live blocks with a whole page among them
// go to jemalloc when they are freed, not to a list: they count as sampled, without a note. Any
// thread; a block that is freed at that moment may be missed.
void region_blocks_marked(uintptr_t at, uintptr_t end);

#endif
