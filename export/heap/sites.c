#include "export/heap/sites.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/kernel.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define UNIT 16 // stacks are numbered by where they lie
#define UNITS (CHUNK_BYTES / UNIT)
#define STACK_CHUNKS (SITES_STACK_END / UNITS)
#define RECORDS (CHUNK_BYTES / sizeof(struct record))
#define RECORD_CHUNKS (SITES_RECORD_END / RECORDS)
#define BUCKETS (1u << 14)

// A name is kept as the words of its text, with this in its depth. It has a part of the room at
// most.
#define IS_NAME (UINT32_C(1) << 31)
#define NAME_UNITS (SITES_STACK_END / 8)
// No address has these upper bits, on no machine of 64 bits.
#define NAME_FRAME ((uintptr_t)0xfade << 48)

// Requests are estimated in fractions; a count is kept in these.
#define PARTS 65536.0

struct stack {
    uint32_t hash;
    uint32_t next;  // in its bucket; written before the stack can be found
    uint32_t depth; // words in `frame`
    _Atomic uint64_t live_parts, live_bytes, ever_parts, ever_bytes;
    uintptr_t frame[];
};

struct record {
    uint32_t stack;
    _Atomic uint32_t next; // in the list of free ones
    uint64_t parts, bytes;
    uint64_t unused;
};

static_assert(sizeof(struct record) == 32 && SITES_RECORD_END % RECORDS == 0, "whole chunks");
static_assert(sizeof(struct stack) + SITES_DEPTH_MAX * sizeof(uintptr_t) < CHUNK_BYTES,
              "any stack fits a chunk");

static struct {
    _Atomic(char *) stack_chunk[STACK_CHUNKS];
    _Atomic(char *) record_chunk[RECORD_CHUNKS];
    _Atomic uint32_t bucket[BUCKETS];
    _Atomic uint32_t stacks_used;  // units
    _Atomic uint32_t name_units;   // of these
    _Atomic uint32_t records_used; // ever, 0 included
    _Atomic uint64_t free_records; // the first one, and above it a count of changes
    _Atomic uint64_t samples, live, live_bytes, stacks, chunks;
} table = {.stacks_used = 1, .records_used = 1};

static void count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static uint64_t load(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

// The chunk, mapped by the first thread that needs it; NULL when there is no memory for it.
static char *chunk_of(_Atomic(char *) *slot)
{
    char *chunk = atomic_load_explicit(slot, memory_order_acquire), *none = NULL;

    if (likely(chunk))
        return chunk;
    chunk = kernel_map(CHUNK_BYTES, MAP_NORESERVE);
    if (!chunk)
        return NULL;
    if (atomic_compare_exchange_strong(slot, &none, chunk)) {
        count(&table.chunks, 1);
        return chunk;
    }
    kernel_unmap(chunk, CHUNK_BYTES);
    return none;
}

static struct stack *stack_at(uint32_t number)
{
    char *chunk = atomic_load_explicit(&table.stack_chunk[number / UNITS], memory_order_acquire);

    return (struct stack *)(void *)(chunk + number % UNITS * UNIT);
}

static bool has_stack(uint32_t number)
{
    return number && number < atomic_load(&table.stacks_used) &&
           atomic_load_explicit(&table.stack_chunk[number / UNITS], memory_order_acquire);
}

static struct record *record_at(uint32_t number)
{
    char *chunk = atomic_load_explicit(&table.record_chunk[number / RECORDS], memory_order_acquire);

    return (struct record *)(void *)(chunk + number % RECORDS * sizeof(struct record));
}

static uint32_t units_of(uint32_t depth)
{
    size_t bytes = offsetof(struct stack, frame) + (depth & ~IS_NAME) * sizeof(uintptr_t);

    return (uint32_t)((bytes + UNIT - 1) / UNIT);
}

// Room for a stack, in one chunk; its number, or 0.
static uint32_t stack_room(uint32_t depth)
{
    uint32_t used = atomic_load(&table.stacks_used), at, need = units_of(depth);

    if (depth & IS_NAME && atomic_fetch_add(&table.name_units, need) + need > NAME_UNITS) {
        atomic_fetch_sub(&table.name_units, need);
        return 0;
    }
    do {
        at = used;
        if (at % UNITS + need > UNITS)
            at += UNITS - at % UNITS;
        if (at + need > SITES_STACK_END)
            return 0;
    } while (!atomic_compare_exchange_weak(&table.stacks_used, &used, at + need));
    return chunk_of(&table.stack_chunk[at / UNITS]) ? at : 0;
}

static uint32_t hash_of(const uintptr_t *frame, uint32_t depth)
{
    uint64_t h = depth;

    for (unsigned i = 0; i < (depth & ~IS_NAME); i++) {
        h = (h ^ frame[i]) * 0x9e3779b97f4a7c15;
        h ^= h >> 29;
    }
    return (uint32_t)(h >> 32);
}

static bool is_same(const struct stack *s, uint32_t hash, const uintptr_t *frame, uint32_t depth)
{
    return s->hash == hash && s->depth == depth &&
           memcmp(s->frame, frame, (depth & ~IS_NAME) * sizeof *frame) == 0;
}

static uint32_t intern(const uintptr_t *frame, uint32_t depth)
{
    uint32_t hash = hash_of(frame, depth), first, seen = 0, ours = 0;
    _Atomic uint32_t *bucket = &table.bucket[hash % BUCKETS];

    ASSERT((depth & ~IS_NAME) <= SITES_DEPTH_MAX);
    for (first = atomic_load_explicit(bucket, memory_order_acquire);;) {
        // Only what came since the last call.
        for (uint32_t n = first; n != seen; n = stack_at(n)->next)
            if (is_same(stack_at(n), hash, frame, depth))
                return n; // a stack that we made for nothing is lost room, no more
        seen = first;
        if (!ours && !(ours = stack_room(depth)))
            return 0;
        struct stack *s = stack_at(ours);
        s->hash = hash;
        s->depth = depth;
        s->next = first;
        memcpy(s->frame, frame, (depth & ~IS_NAME) * sizeof *frame);
        if (atomic_compare_exchange_strong(bucket, &first, ours)) {
            count(&table.stacks, !(depth & IS_NAME));
            return ours;
        }
    }
}

uint32_t sites_stack(const uintptr_t *frame, unsigned depth)
{
    return intern(frame, depth);
}

uintptr_t sites_name(const char *text, size_t length)
{
    uintptr_t words[SITES_DEPTH_MAX];
    size_t depth = length / sizeof *words + 1; // ends in a NUL at least
    uint32_t number;

    ASSERT(length <= SITES_NAME_MAX);
    words[depth - 1] = 0;
    memcpy(words, text, length);
    number = intern(words, (uint32_t)depth | IS_NAME);
    return number ? NAME_FRAME | number : 0;
}

const char *sites_name_at(uintptr_t frame)
{
    uint32_t number = (uint32_t)frame;

    // A walker may have taken any word for a return address.
    if (frame - number != NAME_FRAME || !has_stack(number) || !sites_name_of(number))
        return NULL;
    return (const char *)stack_at(number)->frame;
}

uintptr_t sites_name_of(uint32_t number)
{
    return stack_at(number)->depth & IS_NAME ? NAME_FRAME | number : 0;
}

static uint32_t record_new(void)
{
    uint64_t first = atomic_load(&table.free_records), rest;
    uint32_t number;

    // The count in the upper half tells a list that was changed and changed back.
    while ((number = (uint32_t)first)) {
        rest = (first & ~(uint64_t)UINT32_MAX) + ((uint64_t)1 << 32) +
               atomic_load_explicit(&record_at(number)->next, memory_order_relaxed);
        if (atomic_compare_exchange_weak(&table.free_records, &first, rest))
            return number;
    }
    number = atomic_load(&table.records_used);
    do
        if (number >= SITES_RECORD_END)
            return 0;
    while (!atomic_compare_exchange_weak(&table.records_used, &number, number + 1));
    return chunk_of(&table.record_chunk[number / RECORDS]) ? number : 0;
}

static void record_delete(uint32_t number)
{
    uint64_t first = atomic_load(&table.free_records);

    do
        atomic_store_explicit(&record_at(number)->next, (uint32_t)first, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&table.free_records, &first,
                                         (first & ~(uint64_t)UINT32_MAX) + ((uint64_t)1 << 32) +
                                             number));
}

uint32_t sites_add(uint32_t stack, size_t size, double probability)
{
    uint32_t number = record_new();
    struct record *r;

    if (!number)
        return 0;
    r = record_at(number);
    r->stack = stack;
    r->parts = (uint64_t)(PARTS / probability + 0.5);
    r->bytes = (uint64_t)((double)size / probability + 0.5);
    struct stack *s = stack_at(stack);
    count(&s->ever_parts, r->parts);
    count(&s->ever_bytes, r->bytes);
    // After: a reader that takes these first never sees more live than ever.
    atomic_fetch_add_explicit(&s->live_parts, r->parts, memory_order_release);
    atomic_fetch_add_explicit(&s->live_bytes, r->bytes, memory_order_release);
    count(&table.samples, 1);
    count(&table.live, 1);
    count(&table.live_bytes, r->bytes);
    return number;
}

uint32_t sites_remove(uint32_t record)
{
    struct record *r = record_at(record);
    uint32_t stack = r->stack;
    struct stack *s = stack_at(stack);

    count(&s->live_parts, -r->parts);
    count(&s->live_bytes, -r->bytes);
    count(&table.live, (uint64_t)-1);
    count(&table.live_bytes, -r->bytes);
    record_delete(record);
    return stack;
}

struct site sites_at(uint32_t stack)
{
    struct stack *s;

    if (!has_stack(stack))
        return (struct site){0};
    s = stack_at(stack);
    // First what is live: see sites_add().
    uint64_t live_parts = atomic_load_explicit(&s->live_parts, memory_order_acquire);
    uint64_t live_bytes = atomic_load_explicit(&s->live_bytes, memory_order_acquire);
    return (struct site){
        .frame = s->frame,
        .depth = s->depth & IS_NAME ? 0 : s->depth,
        .live_blocks = (uint64_t)((double)live_parts / PARTS + 0.5),
        .live_bytes = live_bytes,
        .ever_blocks = (uint64_t)((double)load(&s->ever_parts) / PARTS + 0.5),
        .ever_bytes = load(&s->ever_bytes),
    };
}

// By buckets: the room of a stack that is being written says nothing of how long it is.
uint32_t sites_next(uint32_t stack)
{
    unsigned bucket = 0;

    if (stack) {
        struct stack *s = stack_at(stack);
        if (s->next)
            return s->next;
        bucket = s->hash % BUCKETS + 1;
    }
    for (; bucket < BUCKETS; bucket++) {
        uint32_t first = atomic_load_explicit(&table.bucket[bucket], memory_order_acquire);
        if (first)
            return first;
    }
    return 0;
}

void sites_stats(struct sites_stats *out)
{
    *out = (struct sites_stats){
        .samples = load(&table.samples),
        .live = load(&table.live),
        .live_bytes = load(&table.live_bytes),
        .stacks = load(&table.stacks),
        .table_bytes = load(&table.chunks) * CHUNK_BYTES,
    };
}
