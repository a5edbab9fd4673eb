// jemalloc_private - what the library uses of jemalloc beyond jemalloc(3), and how it does without.
//
// jemalloc is linked in. So its internal functions can be wrapped (ld --wrap), called and replaced,
// and its structures read. This folder is the only place that does so. All other code keeps to the
// public interface (pool/common/je.h) and to the headers of this folder.
//
// "Wrap" in the table is a function whose callers get ours; "call" one that is called as it is;
// "layout" an offset; "option" a variable that is set past MALLOC_CONF. The figures are those of
// the change that brought each. Files end in .c.
//
// clang-format off
//  part                                 file        what it is for: what it bought; what it relies on
//  wrap pages_map, _commit, _decommit   page_hooks  counts the pages of all arenas: a heap of small blocks is seen to
//                                                   grow at all; committed pages come by pages_commit() even where
//                                                   the kernel overcommits, if pages_map() said "not committed"
//  wrap pages_boot                      page_hooks  a start whose first mmap() fails does not crash (1 program of a
//                                                   scan did); jemalloc maps one page there, and unmaps it
//  wrap ecache_init                     page_hooks  free extents merge at once: 617 -> 503 MiB for sizes that shift;
//                                                   the last argument delays merging
//  wrap ecache_evict                    page_hooks  a purge ends after a number of bytes: 0.89 -> 0.56 s at 1.25 of what
//                                                   is live; one call for each extent, oldest first, NULL ends it
//  call extent_split_wrapper,           page_hooks  of a large extent only a part goes: random sizes at 1.25 of what
//    ecache_dalloc                                  is live 0.22 -> 0.18 s, with the page moves that it serves
//  wrap ecache_alloc_grow               page_hooks  a request reuses free pages or fails: 1.66 -> 0.42 s for blocks
//                                                   of 1 to 8 MiB near the limit; only this makes extents from
//                                                   address space without pages
//  wrap ecache_dalloc                   page_hooks  marks (madvise, mprotect, mlock) come off pages that become free
//  wrap pa_dalloc                       page_hooks  a large free wakes the watchdog: neighbours killed 6 of 6 -> 0 of
//                                                   40; every extent that becomes free passes
//  wrap tcache_alloc_small_hard         page_hooks  a place where small requests may wait: four processes that peak
//                                                   in turn 1.40 -> 1.14 of the peak; no lock is held before, after
//  wrap te_event_trigger, layout te_ctx page_hooks, a place after each 64 KiB of small requests, and their sampling;
//                                       tcache      a thread that only frees gets caches: 64 bytes from one thread to
//                                                   another 82 -> 22 ns; such a thread has this event with each free
//  call pages_purge_forced, pages_unmap page_hooks  gives pages back; knows kernels whose MADV_DONTNEED lies
//  layout edata: words 1 and 2          page_hooks  address, and size with a serial number below a page
//  wrap base_alloc, base_alloc_edata,   metadata    requests do not fail for 128 bytes: programs that survive ENOMEM,
//    layout edata: 128 bytes                        144 cases, died in 30 -> 0; a leaf of the map of extents is 2 MiB
//  wrap tsd_tcache_enabled_data_init,   tcache      our threads take no 28 KiB, for want of which jemalloc crashes;
//    call tsd_slow_update, layout tsd               the first byte of tsd says whether there are caches
//  wrap tcache_gc_*, tcache_cleanup,    tcache      a thread that asks for little has no caches: 30-104 -> 14 KiB a
//    arena_decay, arena_palloc,                     thread, 15 faults at its start and end -> 0; lists are filled by
//    arena_cache_bin_fill_small,                    need, and emptied by threads that only free: 64 idle threads
//    cache_bin_pre- and _postincrement,             79 -> 88 % back; events hold no lock; the second word of a list
//    call tsd_tcache_data_init, tcache_flush        counts its requests; in 5.3.0 only
//  wrap pa_shard_prefork0,              je_fork     a fork waits for purges: children that could not purge 10 of 60
//    malloc_mutex_prefork, layout decay             -> 0; the flag `purging` lies behind the decay's mutex
//  wrap malloc_mutex_lock_slow, call    je_fork     children of clone(2) do not wait for threads that they lack: 1 of
//    jemalloc_prefork, _postfork_*                  30 hung -> 0
//  layout of arena_emap_global: root,   this one    the size of a block inside a signal handler, and whose pages a
//    an entry; sz_index2size_tab                    slab's are (holes); 8 bytes a page: size class, extent, flags
//  that map, layout edata: word 0       large_cache a few free blocks above 1 MiB stay whole: a pair of 3 MiB 204 ->
//                                                   19 ns; 12 bits tell a large block of jemalloc's own arenas
//  option cache_oblivious (weak symbol) this one    no page is added to a large block; no name in MALLOC_CONF
//  option disable_large_size_classes    this one    5.3.1 only, by a weak symbol: large sizes are those of the map, else a kept
//                                                   block may be smaller than what is asked for
//  call cache_bin_init, _info_init,     tcache      the self-test of a list, which it fills from the first arena
//    data arenas
//  call arena_basic_stats_merge,        this one    free pages that jemalloc keeps: by mallctl("epoch") they cost a
//    narenas_total_get, data arenas,                child of fork 150 KiB of pages of its own; it reads atomics only
//    manual_arena_base
//  option thp                           this one    TIDEPOOL_THP is read after jemalloc's own options
//  option retain, narenas_auto          this one    under RLIMIT_AS and RLIMIT_DATA address space goes back: 75 KiB of
//                                                   4 GB were left to blocks of 100 bytes; 0.77 for 0.69 of 32 MiB
//  option oversize_threshold,           this one    free pages of any extent serve any request while memory is
//    lg_extent_max_active_fit                       plenty: 1226 -> 105 MiB for 24 rounds of 100
// clang-format on
//
// Which versions were verified is in build.mk, and the build refuses others. What a version could
// change unseen is tried once, by je_private_test(). Where that fails, and by TIDEPOOL_PRIVATE=off,
// the wraps pass all calls on and the library keeps to the public interface: pools, levels and
// reclaims go on. Their pages are counted by the hooks of the pools' own arena. Missing then are
// page moves, counts of jemalloc's other arenas, frozen requests, marks, and the sampling of small
// requests by size.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base.h"

extern bool je_private_off HIDDEN;

// May private parts be used?
static inline bool je_private_is_on(void)
{
    return likely(!je_private_off);
}

// jemalloc's entry of a page in its map of extents: the bits from 48 up are the index of the size
// class, those from 7 to 47 the extent. NULL where there is none, and where private parts are off.
// Inside a call of jemalloc's, too.
uint64_t *je_private_entry(uintptr_t page);

// The size of a block of jemalloc's, inside a call of jemalloc's, too.
size_t je_private_size(const void *ptr);

// Bytes of pages that lie free in the first `arenas` arenas: jemalloc's own, and the pools' as the
// last. False where there are others, which a program makes and may destroy meanwhile, and where
// private parts are off. A few loads an arena.
bool je_private_dirty_bytes(unsigned arenas, uint64_t *bytes);

// The setters do nothing where private parts are off, or the user chose otherwise (MALLOC_CONF).
// jemalloc reads each when it is next needed.

// Huge pages for all mappings to come, or as the system has it. Not where MALLOC_CONF has thp.
void je_private_set_thp(bool always);

// Address space is given back from now on, and threads to come share `most_arenas` at most.
void je_private_spare_addresses(uint64_t most_arenas);

// The oversize threshold of arenas to come.
void je_private_set_oversize(size_t bytes);

// May extents of any size be cut, or only those up to 64 times what is asked for, as shipped?
void je_private_cut_any(bool any);

#endif
