// bins - the list of one class in one thread's cache, and the quota for it.
//
// Called by the cache's owner of the moment: its thread while it is busy, or the thread that
// revoked it. A list that is empty is filled from the transfer cache, and half of one that is full
// goes there; all of it where a thread frees and frees.
#ifndef TIDEPOOL_POOL_THREAD_CACHE_BINS_H
#define TIDEPOOL_POOL_THREAD_CACHE_BINS_H

#include "pool/thread_cache/thread_cache.h"

// A new cache: how long each list may grow at first, and the distance to the first samples, drawn
// with this interval (0: none are taken).
void bins_init(struct cache *t, uint64_t interval);

// Fills the empty current list; false when no free block is to be had.
bool bins_refill(struct cache *t, unsigned class);

// Blocks on no list any more, whose quota is handed back already, on their way to jemalloc. That
// may purge, for milliseconds: a thread that drains another's cache must not wait for it, and the
// child of a fork would lose a cache whose owner is inside. So they go when the cache has been
// left.
#define LISTS_LEAVING_MAX 128u
struct lists_leaving {
    uint32_t count;
    uint32_t unit[LISTS_LEAVING_MAX];
};

// Gives them to jemalloc: outside of any cache.
void bins_let_leave(const struct lists_leaving *leaving);

// Makes room on the full current list; false when all quota is taken. Adds to *leaving.
bool bins_make_room(struct cache *t, unsigned class, struct lists_leaving *leaving);

// Gives a few of the blocks that have lain in the transfer cache longest back to jemalloc, some 64
// KiB and `max` blocks at most; returns how many. Any thread, outside of any cache.
uint32_t bins_release_oldest(unsigned class, uint64_t max);

// Gives up all that one class holds, or all classes.
void bins_empty_class(struct cache *t, unsigned class);
void bins_empty(struct cache *t);

// Draws the distance to the next sample anew. The second only if the last one was drawn in a time
// of much traffic that has ended: that sample may be far.
void bins_draw(struct cache *t, unsigned class, uint64_t interval);
void bins_draw_nearer(struct cache *t, unsigned class);

// A request that came past the lists counts as if it had been served by one: 1. One that the list
// is about to serve and that is not to be counted: -1.
void bins_count_request(struct cache *t, unsigned class, int by);

#endif
