#include "pool/quota.h"

#include <stdatomic.h>
#include <string.h>

#include "shim/base.h"

static struct {
    struct credit_bucket config[CREDIT_BUCKETS_MAX];
    unsigned count;
    int8_t bucket_of[SIZE_CLASS_END];
    struct credit_classes classes[CREDIT_BUCKETS_MAX];
    _Atomic uint64_t max_bytes;

    // Written by all threads, so apart from what all threads only read.
    _Alignas(64) _Atomic uint64_t taken_bytes;
    _Alignas(64) _Atomic uint64_t taken[CREDIT_BUCKETS_MAX];
} credit;

void credit_init(const struct credit_bucket *bucket, unsigned count, uint64_t max_bytes)
{
    ASSERT(count <= CREDIT_BUCKETS_MAX);
    for (unsigned i = 0; i < count; i++)
        credit.config[i] = bucket[i];
    credit.count = count;
    memset(credit.classes, 0, sizeof credit.classes);
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        unsigned b = 0;
        while (b < count && size_class_bytes(class) > bucket[b].bound_bytes)
            b++;
        credit.bucket_of[class] = -1;
        if (b == count || !bucket[b].limit)
            continue;
        credit.bucket_of[class] = (int8_t)b;
        credit.classes[b].class[credit.classes[b].count++] = (uint8_t) class;
    }
    atomic_store_explicit(&credit.max_bytes, max_bytes, memory_order_relaxed);
}

// Adds up to `want` units of `weight` to `taken` without passing `limit`; returns how many.
static uint32_t add_below(_Atomic uint64_t *taken, uint64_t limit, uint64_t weight, uint32_t want)
{
    uint64_t old = atomic_load_explicit(taken, memory_order_relaxed);
    uint64_t got;

    do {
        uint64_t room = old < limit ? limit - old : 0;
        got = want;
        if (got * weight > room)
            got = room / weight;
        if (!got)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(taken, &old, old + got * weight,
                                                    memory_order_relaxed, memory_order_relaxed));
    return (uint32_t)got;
}

static uint64_t weight_of(int bucket, unsigned class)
{
    return credit.config[bucket].limit_is_bytes ? size_class_bytes(class) : 1;
}

uint32_t credit_take(unsigned class, uint32_t want)
{
    int b = credit.bucket_of[class];
    uint32_t by_bucket, by_bytes;

    if (b < 0)
        return 0;
    by_bucket = add_below(&credit.taken[b], credit.config[b].limit, weight_of(b, class), want);
    if (!by_bucket)
        return 0;
    by_bytes = add_below(&credit.taken_bytes,
                         atomic_load_explicit(&credit.max_bytes, memory_order_relaxed),
                         size_class_bytes(class), by_bucket);
    if (by_bytes < by_bucket)
        atomic_fetch_sub_explicit(&credit.taken[b], (by_bucket - by_bytes) * weight_of(b, class),
                                  memory_order_relaxed);
    return by_bytes;
}

void credit_return(unsigned class, uint32_t count)
{
    int b = credit.bucket_of[class];

    if (!count)
        return;
    ASSERT(b >= 0);
    atomic_fetch_sub_explicit(&credit.taken[b], count * weight_of(b, class), memory_order_relaxed);
    atomic_fetch_sub_explicit(&credit.taken_bytes, count * (uint64_t)size_class_bytes(class),
                              memory_order_relaxed);
}

uint32_t credit_move(unsigned from, unsigned to, uint32_t count)
{
    uint64_t was = size_class_bytes(from), is = size_class_bytes(to);
    uint32_t got = count;

    if (credit.config[credit.bucket_of[from]].limit_is_bytes) {
        credit_return(from, count);
        return credit_take(to, count);
    }
    if (is > was)
        got = add_below(&credit.taken_bytes,
                        atomic_load_explicit(&credit.max_bytes, memory_order_relaxed), is - was,
                        count);
    else if (is < was)
        atomic_fetch_sub_explicit(&credit.taken_bytes, count * (was - is), memory_order_relaxed);
    credit_return(from, count - got);
    return got;
}

bool credit_is_scarce(unsigned class)
{
    int b = credit.bucket_of[class];
    uint64_t limit = credit.config[b].limit;

    return atomic_load_explicit(&credit.taken[b], memory_order_relaxed) > limit - limit / 4;
}

void credit_set_max(uint64_t max_bytes)
{
    atomic_store_explicit(&credit.max_bytes, max_bytes, memory_order_relaxed);
}

uint64_t credit_max(void)
{
    return atomic_load_explicit(&credit.max_bytes, memory_order_relaxed);
}

uint64_t credit_taken_bytes(void)
{
    return atomic_load_explicit(&credit.taken_bytes, memory_order_relaxed);
}

int credit_bucket_of(unsigned class)
{
    return credit.bucket_of[class];
}

const struct credit_classes *credit_classes(unsigned class)
{
    return &credit.classes[credit.bucket_of[class]];
}

uint64_t credit_bucket_taken(unsigned bucket)
{
    return atomic_load_explicit(&credit.taken[bucket], memory_order_relaxed);
}

unsigned credit_bucket_count(void)
{
    return credit.count;
}

const struct credit_bucket *credit_bucket(unsigned bucket)
{
    return &credit.config[bucket];
}
