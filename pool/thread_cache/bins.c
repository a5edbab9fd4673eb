#include "pool/thread_cache/bins.h"

#include <string.h>

#include "pool/common/quota.h"
#include "pool/common/sampler.h"
#include "pool/thread_cache/thread_cache_inside.h"
#include "shim/clock.h"

// How many blocks move at once: 16 or 64 KiB of them at first, whichever is less, and twice as many
// with each move. Moving some costs 50 ns, a pooled malloc 3.
#define TARGET_FIRST_BYTES ((size_t)64 << 10)
#define TARGET_FIRST 16u
#define TARGET_MAX (CACHE_LIST_MAX / 2)

// Lists of a bucket's classes that hold quota, over all threads.
static _Atomic uint32_t lists_of[QUOTA_BUCKETS_MAX];

static _Atomic uint64_t drained[SIZE_CLASS_END], overflows[SIZE_CLASS_END];

// The list of all classes that had none yet: empty, and without quota for more.
static uint32_t no_list[1];

static uint32_t *list_of(struct bin *b)
{
    return atomic_load_explicit(&b->list, memory_order_acquire);
}

// Sets a list's state. `came` blocks came to it at once, or left it where negative.
static void set_list(struct cache *t, unsigned class, uint32_t *list, uint32_t count,
                     uint32_t capacity, int64_t came)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];

    ASSERT(count <= capacity && capacity <= l->room);
    if (!capacity != !cache_list_capacity(b))
        atomic_fetch_add_explicit(&lists_of[quota_bucket_of(class)], capacity ? 1 : (uint32_t)-1,
                                  memory_order_relaxed);
    cache_next_version(l);
    atomic_store_explicit(&b->list, list, memory_order_release);
    cache_store(&l->moved, cache_load(&l->moved) + (uint64_t)came);
    atomic_store_explicit(&b->top, list + count, memory_order_release);
    atomic_store_explicit(&b->full, list + capacity, memory_order_release);
    cache_next_version(l);
}

// The list of a class, which gets slots for `blocks` blocks. A thread with a few blocks each of
// many classes has all of its lists on three pages.
static uint32_t *need_room(struct cache *t, unsigned class, uint32_t blocks)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint32_t *list = list_of(b), count = cache_list_length(b);

    if (likely(blocks <= l->room))
        return list;
    l->room = blocks <= CACHE_FIRST_ROOM    ? CACHE_FIRST_ROOM
              : blocks <= CACHE_SECOND_ROOM ? CACHE_SECOND_ROOM
                                            : CACHE_LIST_MAX;
    uint32_t *longer = (uint32_t *)(void *)(t + 1) + t->slots;
    t->slots += l->room + 1;
    memcpy(longer, list, (count + 1) * sizeof *list);
    set_list(t, class, longer, count, cache_list_capacity(b), 0);
    return longer;
}

// Moves the start of the count, which changes nothing that is counted. Between two versions.
static void move_start(struct bin *b, struct bin_ledger *l, uint64_t by)
{
    cache_store(&l->start, cache_load(&l->start) + by);
    cache_store(&b->requests, cache_load(&b->requests) + by);
}

void bins_draw(struct cache *t, unsigned class, uint64_t interval)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint64_t distance =
        interval ? sampler_requests(size_class_bytes(class), interval) : CACHE_NEVER;

    l->interval = interval;
    cache_next_version(l);
    move_start(b, l, -distance - cache_load(&b->requests));
    cache_next_version(l);
}

static void delete_blocks(const uint32_t *units, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        region_block_delete(units[i]);
}

// Moves blocks to the transfer cache, together with their quota.
static void transfer(unsigned class, const uint32_t *units, uint32_t count)
{
    if (!count || transfer_put(class, units, count))
        return;
    delete_blocks(units, count);
    quota_return(class, count);
}

static uint32_t min32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t target_first(unsigned class)
{
    size_t by_bytes = TARGET_FIRST_BYTES / size_class_bytes(class);

    return by_bytes > TARGET_FIRST ? TARGET_FIRST : by_bytes ? (uint32_t)by_bytes : 1;
}

// The most that leave room for the other lists of the bucket, all threads': a list is twice as
// long. Half of the bucket stays with the transfer cache, where other classes find room.
static uint32_t target_max(unsigned class)
{
    unsigned b = (unsigned)quota_bucket_of(class);
    const struct quota_bucket *bucket = quota_bucket(b);
    uint64_t bytes = size_class_bytes(class), limit = quota_limit(b);
    uint32_t lists = atomic_load_explicit(&lists_of[b], memory_order_relaxed);
    uint64_t share = lists < 3 ? 4 : lists + 1;
    uint64_t by_bucket = limit / (bucket->limit_is_bytes ? bytes : 1) / share;
    uint64_t by_bytes = quota_max() / bytes / share;
    uint64_t max = by_bucket < by_bytes ? by_bucket : by_bytes;

    // Some of these lists may belong to threads that sleep.
    if (max < target_first(class))
        cache_want_idle();
    return max > TARGET_MAX ? TARGET_MAX : max ? (uint32_t)max : 1;
}

static void grow_target(struct cache *t, unsigned class)
{
    struct bin_ledger *l = &t->ledger[class];

    if (l->exchanges++ % 16 == 0)
        l->target_max = target_max(class);
    if (l->target >= l->target_max && l->target < TARGET_MAX)
        quota_note_exchange(class, clock_ms(CLOCK_MONOTONIC_COARSE));
    l->target = l->target * 2 > l->target_max ? l->target_max : l->target * 2;
}

void bins_draw_nearer(struct cache *t, unsigned class)
{
    uint64_t interval = t->ledger[class].interval, now;

    // A hit that was reached stays one: the samples after much traffic weigh the most.
    if (likely(interval <= 2 * sampler_interval_bytes) ||
        cache_load(&t->bin[class].requests) == CACHE_DUE)
        return;
    now = sampler_interval_now();
    if (now <= interval / 4)
        bins_draw(t, class, now);
}

// How many blocks to take from the transfer cache: twice as many as the last time by a thread that
// only takes, else half as many. A thread that takes more than it will use makes others go to
// jemalloc for new ones.
static uint32_t next_take(struct bin_ledger *l, bool only_takes)
{
    l->take = only_takes ? l->take * 2 : l->take / 2;
    if (l->take > l->target)
        l->take = l->target;
    if (!l->take)
        l->take = 1;
    return l->take;
}

bool bins_refill(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint32_t had = cache_list_capacity(b), capacity = had, want, count, *list;
    // By mallocs and what moved, for the list is empty.
    uint64_t put = cache_load(&b->requests) - cache_load(&l->start) - cache_load(&l->moved);
    bool only_takes = put == l->miss_at;

    l->miss_at = put;
    want = next_take(l, only_takes);
    list = need_room(t, class, want);
    count = transfer_take(class, list + 1, want);
    // The blocks bring quota, so what the empty list held is too much; and where others have none,
    // so is what this thread, which takes and takes, has for what it may put.
    if (count > capacity || (only_takes && quota_is_short(class)))
        capacity = count;
    if (count || capacity != had) {
        quota_return(class, had + count - capacity);
        set_list(t, class, list, count, capacity, count);
    }
    if (count)
        grow_target(t, class);
    return count;
}

// Room on one of this thread's lists becomes quota for another. Called by the owner, busy.
static uint32_t squeeze(struct cache *t, unsigned from, unsigned class)
{
    struct bin *b = &t->bin[from];
    struct bin_ledger *l = &t->ledger[from];
    uint32_t count = cache_list_length(b), capacity = cache_list_capacity(b);
    uint32_t room = min32(capacity - count, t->ledger[class].target);

    if (!room)
        return 0;
    if (l->target > target_first(from))
        l->target /= 2;
    set_list(t, from, list_of(b), count, capacity - room, 0);
    return quota_move(from, class, room);
}

static uint32_t take_oldest(unsigned class, uint64_t max, struct lists_leaving *leaving)
{
    uint32_t some = min32(target_first(class), LISTS_LEAVING_MAX - leaving->count);
    uint32_t count = transfer_take_oldest(class, leaving->unit + leaving->count,
                                          some < max ? some : (uint32_t)max);

    leaving->count += count;
    quota_return(class, count);
    return count;
}

void bins_let_leave(const struct lists_leaving *leaving)
{
    delete_blocks(leaving->unit, leaving->count);
}

uint32_t bins_release_oldest(unsigned class, uint64_t max)
{
    struct lists_leaving leaving;

    leaving.count = 0;
    take_oldest(class, max, &leaving);
    bins_let_leave(&leaving);
    return leaving.count;
}

// Blocks that lie in the transfer cache for another class of the bucket go back to jemalloc: they
// were not needed lately, and this one was. Without that, a program whose sizes shift would fill a
// bucket once, and its new sizes would never be pooled.
static bool displace(unsigned class, struct lists_leaving *leaving)
{
    const struct quota_classes *all = quota_classes(class);

    for (unsigned i = 0; i < all->count; i++) {
        unsigned other = all->class[i];
        uint32_t count = other == class ? 0 : take_oldest(other, UINT64_MAX, leaving);
        if (count) {
            quota_note_refused(other, count);
            cache_want_idle();
            return true;
        }
    }
    return false;
}

// Takes quota for as many blocks as the class's target, or for fewer; 0 when none is left.
static uint32_t take_quota(struct cache *t, unsigned class, struct lists_leaving *leaving)
{
    uint32_t got = quota_take(class, t->ledger[class].target);
    const struct quota_classes *all = quota_classes(class);

    for (unsigned i = 0; !got && i < all->count; i++)
        if (all->class[(class + i) % all->count] != class)
            got = squeeze(t, all->class[(class + i) % all->count], class);
    while (!got && displace(class, leaving))
        got = quota_take(class, t->ledger[class].target);
    return got;
}

static void note_overflow(unsigned class, uint32_t count)
{
    cache_add(&overflows[class], count);
    quota_note_refused(class, count);
    cache_want_idle();
}

// Deletes a few blocks of a full list, so that as many fit again. What a full bucket has no room
// for goes by a few at a time, which costs half of what it does one by one; but only where the
// program frees and frees, for one that takes as well would soon miss them.
static bool cut(struct cache *t, unsigned class, uint32_t in_a_row, struct lists_leaving *leaving)
{
    struct bin *b = &t->bin[class];
    uint32_t *list = list_of(b), length = cache_list_length(b), count;

    count = in_a_row > 2 ? target_first(class) : 1;
    count = min32(min32(length, count), LISTS_LEAVING_MAX - leaving->count);
    length -= count;
    for (uint32_t i = 0; i < count; i++)
        leaving->unit[leaving->count++] = list[length + 1 + i];
    set_list(t, class, list, length, cache_list_capacity(b), -(int64_t)count);
    note_overflow(class, count);
    return count;
}

// The oldest blocks of a full list travel on, with their quota.
static void transfer_oldest(struct cache *t, unsigned class, uint32_t count)
{
    struct bin *b = &t->bin[class];
    uint32_t *list = list_of(b), left = cache_list_length(b) - count;

    transfer(class, list + 1, count);
    memmove(list + 1, list + 1 + count, left * sizeof *list);
    set_list(t, class, list, left, cache_list_capacity(b) - count, -(int64_t)count);
}

// Called when the list is full; how often in a row it was that without having been taken from.
static uint32_t fills(struct bin *b, struct bin_ledger *l)
{
    uint64_t requests = cache_load(&b->requests);

    l->fills = l->filled_at == requests ? l->fills + 1 : 1;
    l->filled_at = requests;
    return l->fills;
}

bool bins_make_room(struct cache *t, unsigned class, struct lists_leaving *leaving)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint32_t quota, capacity, in_a_row = fills(b, l);

    if (cache_list_capacity(b) >= 2 * l->target || in_a_row > 2)
        grow_target(t, class);
    quota = take_quota(t, class, leaving);
    if (!quota && cut(t, class, in_a_row, leaving))
        return true;
    if (!quota && take_oldest(class, UINT64_MAX, leaving))
        quota = take_quota(t, class, leaving);
    if (!quota) {
        note_overflow(class, 1);
        return false;
    }
    // Where a thread frees and frees others wait for its blocks.
    if (in_a_row > 2)
        transfer_oldest(t, class, cache_list_length(b));
    else if (cache_list_capacity(b) + quota > 2 * l->target)
        transfer_oldest(t, class, (cache_list_length(b) + 1) / 2);
    capacity = cache_list_capacity(b) + quota;
    set_list(t, class, need_room(t, class, capacity), cache_list_length(b), capacity, 0);
    return true;
}

void bins_empty_class(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint32_t *list = list_of(b), count = cache_list_length(b), capacity = cache_list_capacity(b);

    if (!capacity)
        return;
    transfer(class, list + 1, count);
    cache_add(&drained[class], count);
    quota_return(class, capacity - count);
    set_list(t, class, list, 0, 0, -(int64_t)count);
    if (l->target > target_first(class))
        l->target /= 2;
}

void bins_empty(struct cache *t)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        bins_empty_class(t, class);
}

void bins_init(struct cache *t, uint64_t interval)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        t->ledger[class].target = target_first(class);
        atomic_init(&t->bin[class].list, no_list);
        atomic_init(&t->bin[class].top, no_list);
        atomic_init(&t->bin[class].full, no_list);
        bins_draw(t, class, interval);
    }
}

void bins_count_request(struct cache *t, unsigned class, int by)
{
    cache_next_version(&t->ledger[class]);
    move_start(&t->bin[class], &t->ledger[class], (uint64_t)by);
    cache_next_version(&t->ledger[class]);
}

uint64_t cache_drained(unsigned class)
{
    return cache_load(&drained[class]);
}

uint64_t cache_overflows(unsigned class)
{
    return cache_load(&overflows[class]);
}
