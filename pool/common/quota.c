#include "pool/common/quota.h"

#include <stdatomic.h>
#include <string.h>

#include "shim/base.h"

static struct {
    struct quota_bucket config[QUOTA_BUCKETS_MAX];
    unsigned count;
    int8_t bucket_of[SIZE_CLASS_END];
    struct quota_classes classes[QUOTA_BUCKETS_MAX];
    _Atomic uint64_t max_bytes;

    // Written by all threads, so apart from what all threads only read.
    _Alignas(64) _Atomic uint64_t taken_bytes;
    _Alignas(64) _Atomic uint64_t taken[QUOTA_BUCKETS_MAX];
} quota;

void quota_init(const struct quota_bucket *bucket, unsigned count, uint64_t max_bytes)
{
    ASSERT(count <= QUOTA_BUCKETS_MAX);
    for (unsigned i = 0; i < count; i++)
        quota.config[i] = bucket[i];
    quota.count = count;
    memset(quota.classes, 0, sizeof quota.classes);
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        unsigned b = 0;
        while (b < count && size_class_bytes(class) > bucket[b].bound_bytes)
            b++;
        quota.bucket_of[class] = -1;
        if (b == count || !bucket[b].limit)
            continue;
        quota.bucket_of[class] = (int8_t)b;
        quota.classes[b].class[quota.classes[b].count++] = (uint8_t) class;
    }
    atomic_store_explicit(&quota.max_bytes, max_bytes, memory_order_relaxed);
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
    return quota.config[bucket].limit_is_bytes ? size_class_bytes(class) : 1;
}

uint32_t quota_take(unsigned class, uint32_t want)
{
    int b = quota.bucket_of[class];
    uint32_t by_bucket, by_bytes;

    if (b < 0)
        return 0;
    by_bucket = add_below(&quota.taken[b], quota.config[b].limit, weight_of(b, class), want);
    if (!by_bucket)
        return 0;
    by_bytes =
        add_below(&quota.taken_bytes, atomic_load_explicit(&quota.max_bytes, memory_order_relaxed),
                  size_class_bytes(class), by_bucket);
    if (by_bytes < by_bucket)
        atomic_fetch_sub_explicit(&quota.taken[b], (by_bucket - by_bytes) * weight_of(b, class),
                                  memory_order_relaxed);
    return by_bytes;
}

void quota_return(unsigned class, uint32_t count)
{
    int b = quota.bucket_of[class];

    if (!count)
        return;
    ASSERT(b >= 0);
    atomic_fetch_sub_explicit(&quota.taken[b], count * weight_of(b, class), memory_order_relaxed);
    atomic_fetch_sub_explicit(&quota.taken_bytes, count * (uint64_t)size_class_bytes(class),
                              memory_order_relaxed);
}

uint32_t quota_move(unsigned from, unsigned to, uint32_t count)
{
    uint64_t was = size_class_bytes(from), is = size_class_bytes(to);
    uint32_t got = count;

    if (quota.config[quota.bucket_of[from]].limit_is_bytes) {
        quota_return(from, count);
        return quota_take(to, count);
    }
    if (is > was)
        got = add_below(&quota.taken_bytes,
                        atomic_load_explicit(&quota.max_bytes, memory_order_relaxed), is - was,
                        count);
    else if (is < was)
        atomic_fetch_sub_explicit(&quota.taken_bytes, count * (was - is), memory_order_relaxed);
    quota_return(from, count - got);
    return got;
}

bool quota_is_short(unsigned class)
{
    int b = quota.bucket_of[class];
    uint64_t limit = quota.config[b].limit;

    return atomic_load_explicit(&quota.taken[b], memory_order_relaxed) > limit - limit / 4;
}

void quota_set_max(uint64_t max_bytes)
{
    atomic_store_explicit(&quota.max_bytes, max_bytes, memory_order_relaxed);
}

uint64_t quota_max(void)
{
    return atomic_load_explicit(&quota.max_bytes, memory_order_relaxed);
}

uint64_t quota_taken_bytes(void)
{
    return atomic_load_explicit(&quota.taken_bytes, memory_order_relaxed);
}

int quota_bucket_of(unsigned class)
{
    return quota.bucket_of[class];
}

const struct quota_classes *quota_classes(unsigned class)
{
    return &quota.classes[quota.bucket_of[class]];
}

uint64_t quota_bucket_taken(unsigned bucket)
{
    return atomic_load_explicit(&quota.taken[bucket], memory_order_relaxed);
}

unsigned quota_bucket_count(void)
{
    return quota.count;
}

const struct quota_bucket *quota_bucket(unsigned bucket)
{
    return &quota.config[bucket];
}
