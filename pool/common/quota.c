#include "pool/common/quota.h"

#include <stdatomic.h>
#include <string.h>

#include "shim/base.h"

// What a longer list, and a block that was kept, would have spared: a lock and a copy, and two
// calls into jemalloc. And how much of that a window of time may have before limits rise.
#define EXCHANGE_NS 50u
#define MISS_NS 400u
#define WINDOW_MS 16u
#define WINDOW_NS (WINDOW_MS * 1000000u / 50)
// What one miss or exchange beyond that may add to a limit. At twice the time it is twice as much.
#define GRANT_BYTES (512u << 10)

static struct {
    struct quota_bucket config[QUOTA_BUCKETS_MAX];
    unsigned count;
    int8_t bucket_of[SIZE_CLASS_END];
    struct quota_classes classes[QUOTA_BUCKETS_MAX];
    _Atomic uint64_t max_bytes;

    _Atomic uint64_t limit[QUOTA_BUCKETS_MAX];

    // Written by all threads, so apart from what all threads only read.
    _Alignas(64) _Atomic uint64_t taken_bytes;
    _Alignas(64) _Atomic uint64_t taken[QUOTA_BUCKETS_MAX];
    _Alignas(64) _Atomic uint64_t highest[QUOTA_BUCKETS_MAX]; // of `taken` since quota_age()
    _Atomic uint64_t granted[QUOTA_BUCKETS_MAX];              // bytes, towards the next block
    _Atomic uint64_t refused[SIZE_CLASS_END];                 // and not missed since
    _Alignas(64) _Atomic uint64_t window, spent_ns;
} quota;

static uint64_t load(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void store(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

void quota_init(const struct quota_bucket *bucket, unsigned count, uint64_t max_bytes)
{
    ASSERT(count <= QUOTA_BUCKETS_MAX);
    for (unsigned i = 0; i < count; i++) {
        quota.config[i] = bucket[i];
        store(&quota.limit[i], bucket[i].limit);
    }
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
    store(&quota.max_bytes, max_bytes);
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
    by_bucket = add_below(&quota.taken[b], load(&quota.limit[b]), weight_of(b, class), want);
    if (!by_bucket)
        return 0;
    // Of several threads one may be lost, as with the counts below: they steer, they do not
    // account.
    if (quota.config[b].follows && load(&quota.taken[b]) > load(&quota.highest[b]))
        store(&quota.highest[b], load(&quota.taken[b]));
    by_bytes =
        add_below(&quota.taken_bytes, load(&quota.max_bytes), size_class_bytes(class), by_bucket);
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
        got = add_below(&quota.taken_bytes, load(&quota.max_bytes), is - was, count);
    else if (is < was)
        atomic_fetch_sub_explicit(&quota.taken_bytes, count * (was - is), memory_order_relaxed);
    quota_return(from, count - got);
    return got;
}

void quota_note_refused(unsigned class, uint32_t count)
{
    store(&quota.refused[class], load(&quota.refused[class]) + count);
}

// Whether a bucket may keep one more block of that size; a large one has to ask more often.
static bool granted(int bucket, uint64_t bytes, uint64_t spent_ns)
{
    uint64_t sum = load(&quota.granted[bucket]) + GRANT_BYTES * spent_ns / WINDOW_NS;

    store(&quota.granted[bucket], sum < bytes ? sum : 0);
    return sum >= bytes;
}

static void spend(unsigned class, unsigned ns, uint64_t now_ms)
{
    int b = quota.bucket_of[class];
    uint64_t bytes = size_class_bytes(class), spent_ns;

    if (!quota.config[b].follows)
        return;
    if (load(&quota.window) != now_ms / WINDOW_MS) {
        store(&quota.window, now_ms / WINDOW_MS);
        store(&quota.spent_ns, 0);
    }
    spent_ns = load(&quota.spent_ns) + ns;
    store(&quota.spent_ns, spent_ns);
    if (spent_ns > WINDOW_NS && load(&quota.limit[b]) < load(&quota.max_bytes) / bytes &&
        granted(b, bytes, spent_ns))
        atomic_fetch_add_explicit(&quota.limit[b], 1, memory_order_relaxed);
}

void quota_note_miss(unsigned class, uint64_t now_ms)
{
    uint64_t refused = load(&quota.refused[class]);

    if (!refused)
        return;
    store(&quota.refused[class], refused - 1);
    spend(class, MISS_NS, now_ms);
}

void quota_note_exchange(unsigned class, uint64_t now_ms)
{
    spend(class, EXCHANGE_NS, now_ms);
}

void quota_expect(unsigned class, uint32_t count)
{
    int b = quota.bucket_of[class];
    uint64_t wanted = load(&quota.taken[b]) + count;

    if (quota.config[b].follows && load(&quota.limit[b]) < wanted)
        store(&quota.limit[b], wanted);
}

void quota_age(void)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        store(&quota.refused[class], 0);
    for (unsigned b = 0; b < quota.count; b++) {
        uint64_t limit = load(&quota.limit[b]), highest = load(&quota.highest[b]);
        if (!quota.config[b].follows)
            continue;
        store(&quota.highest[b], load(&quota.taken[b]));
        if (highest < quota.config[b].limit)
            highest = quota.config[b].limit;
        if (limit > highest)
            store(&quota.limit[b], limit - (limit - highest + 1) / 2);
    }
}

bool quota_is_short(unsigned class)
{
    int b = quota.bucket_of[class];
    uint64_t limit = load(&quota.limit[b]);

    return load(&quota.taken[b]) > limit - limit / 4;
}

void quota_set_max(uint64_t max_bytes)
{
    store(&quota.max_bytes, max_bytes);
}

uint64_t quota_max(void)
{
    return load(&quota.max_bytes);
}

uint64_t quota_taken_bytes(void)
{
    return load(&quota.taken_bytes);
}

int quota_bucket_of(unsigned class)
{
    return quota.bucket_of[class];
}

bool quota_follows(unsigned class)
{
    int b = quota.bucket_of[class];

    return b >= 0 && quota.config[b].follows;
}

const struct quota_classes *quota_classes(unsigned class)
{
    return &quota.classes[quota.bucket_of[class]];
}

uint64_t quota_bucket_taken(unsigned bucket)
{
    return load(&quota.taken[bucket]);
}

uint64_t quota_limit(unsigned bucket)
{
    uint64_t limit = load(&quota.limit[bucket]), taken = load(&quota.taken[bucket]);

    return quota.config[bucket].follows && taken > limit ? taken : limit;
}

unsigned quota_bucket_count(void)
{
    return quota.count;
}

const struct quota_bucket *quota_bucket(unsigned bucket)
{
    return &quota.config[bucket];
}
