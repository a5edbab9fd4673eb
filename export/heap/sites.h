// sites - the samples that are live, and the call stacks that took them.
//
// A stack is kept once, for ever, under a number, with sums over its samples; a record is one live
// sample, so that its share can be taken off again. Both lie in mapped memory that grows in chunks
// up to a fixed end. Nothing here takes a lock, allocates or calls out. So it works in signal
// handlers, in the child of a fork and while others change it. What there is no room for is said by
// 0, which is never a number.
//
// An interpreter's frame has a name instead of an address. Names are kept as stacks are, up to 8
// MiB of them.
//
// A sample stands for 1 / p requests, p being the probability with which it was taken; the sums are
// estimates of all requests, not of the sampled ones.
#ifndef TIDEPOOL_EXPORT_HEAP_SITES_H
#define TIDEPOOL_EXPORT_HEAP_SITES_H

#include <stddef.h>
#include <stdint.h>

#define SITES_DEPTH_MAX 64

// Stacks are numbered below this, so that the number fits where a record's does.
#define SITES_STACK_END (UINT32_C(1) << 22)
#define SITES_RECORD_END (UINT32_C(1) << 20)

// The number of this stack, return addresses or names innermost first; at most SITES_DEPTH_MAX of
// them.
uint32_t sites_stack(const uintptr_t *frame, unsigned depth);

#define SITES_NAME_MAX 504 // bytes

// What stands in a stack for a frame of that name: no address of any program. 0: no room for it.
uintptr_t sites_name(const char *text, size_t length);

// The name; NULL for an address.
const char *sites_name_at(uintptr_t frame);

// Records a live sample of `size` bytes, taken with `probability`; returns its number.
uint32_t sites_add(uint32_t stack, size_t size, double probability);

// It is freed. Returns its stack.
uint32_t sites_remove(uint32_t record);

struct site {
    const uintptr_t *frame;
    unsigned depth;
    uint64_t live_blocks, live_bytes; // estimates
    uint64_t ever_blocks, ever_bytes;
};

// The stack of that number, whatever number that is; depth 0 when there is none, or it is a name.
struct site sites_at(uint32_t stack);

// Walks over all stacks and names, in no order: start with 0, ends with 0.
uint32_t sites_next(uint32_t stack);

// What stands for the name of that number; 0 for a stack.
uintptr_t sites_name_of(uint32_t number);

struct sites_stats {
    uint64_t samples; // recorded, ever
    uint64_t live;    // of them now
    uint64_t stacks;
    uint64_t table_bytes; // mapped for all this
    uint64_t live_bytes;  // the estimate over all stacks
};
void sites_stats(struct sites_stats *out);

#endif
