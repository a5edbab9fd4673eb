// quota - how many free blocks the pools may hold, as a promise.
//
// Each bucket has a limit, in blocks or in bytes, and there is one over all buckets, in bytes. A
// list that keeps free blocks takes quota for them first and returns it when they are gone. A
// thread cache takes it for a list's whole capacity, so that pushing a block needs no atomic. Quota
// given out never exceeds a limit, so neither do the blocks that it stands for.
//
// A limit that the user did not set follows demand, where that saves time. Two things that a larger
// limit would have spared are counted, in time. A request misses a block which jemalloc got back
// for want of quota. And a list goes to the transfer cache since the limit keeps it short. Up to
// 2 % of a processor that costs less than the memory. Beyond, each raises the limit by a block. A
// large block may take two, as it is more memory for that time. The limit falls towards what was
// taken at most of late.
//
// Everything here is lock-free and safe from any thread.
#ifndef TIDEPOOL_POOL_COMMON_QUOTA_H
#define TIDEPOOL_POOL_COMMON_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/common/size_class.h"

#define QUOTA_BUCKETS_MAX 16

struct quota_bucket {
    size_t bound_bytes; // the largest request it serves
    uint64_t limit;     // of free blocks, or of their bytes; 0: this range is not pooled
    bool limit_is_bytes;
    bool follows; // demand: `limit`, in blocks, is where it starts and what it does not fall below
};

// `bucket` has `count` entries with ascending bounds. Call once, before the other functions.
void quota_init(const struct quota_bucket *bucket, unsigned count, uint64_t max_bytes);

// Takes quota for up to `want` blocks of `class`; returns for how many, 0 at the limit.
uint32_t quota_take(unsigned class, uint32_t want);

void quota_return(unsigned class, uint32_t count);

// Turns quota for `count` blocks of class `from` into quota for blocks of class `to`, of the same
// bucket. Returns the number of blocks of `to`; quota beyond these is handed back.
uint32_t quota_move(unsigned from, unsigned to, uint32_t count);

// Blocks of `class` went to jemalloc although they were to be kept: quota_take() had none.
void quota_note_refused(unsigned class, uint32_t count);

// A request for `class` was served by jemalloc. And: a list of the class, which the limit keeps
// short, was exchanged with the transfer cache. By CLOCK_MONOTONIC_COARSE.
void quota_note_miss(unsigned class, uint64_t now_ms);
void quota_note_exchange(unsigned class, uint64_t now_ms);

// `count` more blocks of `class` than are taken will be kept: raises a limit that follows demand.
void quota_expect(unsigned class, uint32_t count);

// Lets the limits that follow demand fall; for a clock's tick.
void quota_age(void);

// Is less than a quarter of a bucket's quota left? Then what is held unused is missing elsewhere.
bool quota_is_short(unsigned class);

// The ceiling over all buckets. Lowering it takes nothing back: it refuses what is asked next.
void quota_set_max(uint64_t max_bytes);
uint64_t quota_max(void);

// Bytes that all quota given out stands for: an upper bound of the bytes in free blocks.
uint64_t quota_taken_bytes(void);

// Which bucket serves `class`; -1 when none does.
int quota_bucket_of(unsigned class);

// Does the limit for `class` follow demand?
bool quota_follows(unsigned class);

// The classes of a bucket, in no order.
struct quota_classes {
    uint8_t count;
    uint8_t class[SIZE_CLASS_END];
};

// Those of the bucket that serves `class`; there is one.
const struct quota_classes *quota_classes(unsigned class);

// Blocks (or bytes, as the limit counts) of a bucket's quota given out.
uint64_t quota_bucket_taken(unsigned bucket);

// The limit of a bucket now; not less than what is taken of one that follows demand.
uint64_t quota_limit(unsigned bucket);

unsigned quota_bucket_count(void);
const struct quota_bucket *quota_bucket(unsigned bucket);

#endif
