#include "pool/lists.h"

#include "pool/cache_inside.h"
#include "pool/credit.h"
#include "pool/pace.h"

// A list starts at 16 blocks or 64 KiB, whichever is less, and doubles up to 64 blocks: moving a
// list costs some 50 ns, a pooled malloc 3, so longer lists would only keep memory from others.
#define TARGET_FIRST_BYTES ((size_t)64 << 10)
#define TARGET_FIRST 16u
#define TARGET_MAX 64u

static _Atomic uint64_t drained[SIZE_CLASS_END], overflows[SIZE_CLASS_END];

static struct batch spare_of(struct bin *b)
{
    return (struct batch){b->spare_head, cache_load32(&b->spare_count)};
}

static void set_spare(struct cache *t, unsigned class, struct batch batch, uint32_t capacity)
{
    t->bin[class].spare_head = batch.head;
    cache_store32(&t->bin[class].spare_count, batch.count);
    cache_store32(&t->ledger[class].spare_capacity, capacity);
}

// Moves the start of both counters, which changes nothing that is counted. Between two versions.
static void move_start(struct bin *b, struct bin_ledger *l, uint64_t by)
{
    cache_store(&l->moved_out, cache_load(&l->moved_out) + by);
    cache_store(&l->moved_in, cache_load(&l->moved_in) + by);
    cache_store(&b->pushed, cache_load(&b->pushed) + by);
    cache_store(&b->limit, cache_load(&b->limit) + by);
}

// Puts a whole list, with its credit, in place of the current one, which the caller has taken care
// of. The counters move as if the old blocks had been taken and the new ones pushed one by one, and
// then their start, by as much as leaves `limit` where it is: so far from the next sample.
static void set_list(struct cache *t, unsigned class, struct batch list, uint32_t capacity)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint32_t old = cache_list_length(b);
    uint64_t start = (uint64_t)cache_load32(&b->capacity) - capacity - old;

    ASSERT(list.count <= capacity);
    cache_next_version(l);
    cache_store(&l->moved_out, cache_load(&l->moved_out) + old + start);
    cache_store(&l->moved_in, cache_load(&l->moved_in) + list.count + start);
    cache_store(&b->pushed, cache_load(&b->pushed) + list.count + start);
    b->head = list.head;
    cache_store32(&b->capacity, capacity);
    cache_next_version(l);
}

void lists_draw(struct cache *t, unsigned class, uint64_t interval)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint64_t distance = interval ? pace_requests(size_class_bytes(class), interval) : CACHE_NEVER;

    l->interval = interval;
    cache_next_version(l);
    move_start(b, l, -distance - cache_load(&b->limit));
    cache_next_version(l);
}

static void swap_with_spare(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    struct batch current = {b->head, cache_list_length(b)};
    uint32_t capacity = cache_load32(&b->capacity);

    set_list(t, class, spare_of(b), cache_load32(&l->spare_capacity));
    set_spare(t, class, current, capacity);
}

static void delete_batch(struct batch batch)
{
    for (uint32_t unit = batch.head, next; batch.count--; unit = next) {
        next = region_entry(unit)->link;
        region_block_delete(unit);
    }
}

static struct batch joined(struct batch a, struct batch b)
{
    uint32_t last = a.head;

    for (uint32_t n = 1; n < a.count; n++)
        last = region_entry(last)->link;
    region_entry(last)->link = b.head;
    return (struct batch){a.head, a.count + b.count};
}

// Shelves a batch together with its credit, where the depot is full as one with the last of those.
static void shelve(unsigned class, struct batch batch)
{
    while (batch.count && !depot_put(class, batch)) {
        struct batch last = depot_get(class);
        if (last.count)
            batch = joined(batch, last);
    }
}

static uint32_t target_first(unsigned class)
{
    size_t by_bytes = TARGET_FIRST_BYTES / size_class_bytes(class);

    return by_bytes > TARGET_FIRST ? TARGET_FIRST : by_bytes ? (uint32_t)by_bytes : 1;
}

// The longest list that leaves room for the thread's other classes of the bucket, and for the other
// threads.
static uint32_t target_max(struct cache *t, unsigned class)
{
    const struct credit_bucket *bucket = credit_bucket((unsigned)credit_bucket_of(class));
    const struct credit_classes *all = credit_classes(class);
    uint64_t bytes = size_class_bytes(class), lists = 2;

    for (unsigned i = 0; i < all->count; i++)
        lists += all->class[i] != class && cache_load32(&t->bin[all->class[i]].capacity);
    uint64_t share = lists * cache_threads();
    uint64_t by_bucket = (bucket->limit_is_bytes ? bucket->limit / bytes : bucket->limit) / share;
    uint64_t by_bytes = credit_max() / bytes / share;
    uint64_t max = by_bucket < by_bytes ? by_bucket : by_bytes;

    return max > TARGET_MAX ? TARGET_MAX : max ? (uint32_t)max : 1;
}

static void grow_target(struct cache *t, unsigned class)
{
    struct bin_ledger *l = &t->ledger[class];

    if (l->exchanges++ % 16 == 0)
        l->target_max = target_max(t, class);
    l->target = l->target * 2 > l->target_max ? l->target_max : l->target * 2;
}

void lists_draw_nearer(struct cache *t, unsigned class)
{
    uint64_t interval = t->ledger[class].interval, now;

    // A hit that was reached stays one: the samples after much traffic weigh the most.
    if (likely(interval <= 2 * pace_interval_bytes) ||
        cache_load(&t->bin[class].limit) == CACHE_DUE)
        return;
    now = pace_interval_now();
    if (now <= interval / 4)
        lists_draw(t, class, now);
}

bool lists_refill(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint32_t had = cache_load32(&b->capacity), capacity;
    uint64_t put = cache_load(&b->pushed) - cache_load(&l->moved_in);
    bool only_takes = put == l->miss_at;
    struct batch batch;

    if (cache_load32(&b->spare_count)) {
        swap_with_spare(t, class);
        return true;
    }
    l->miss_at = put;
    batch = depot_get(class);
    // The batch brings credit for its blocks, so what the empty list held is too much; and where
    // others have none, so is what this thread, which takes and takes, has for what it may put.
    capacity = batch.count;
    if (!only_takes || !credit_is_scarce(class)) {
        capacity = had > batch.count ? had : batch.count;
    } else if (cache_load32(&l->spare_capacity)) {
        credit_return(class, cache_load32(&l->spare_capacity));
        set_spare(t, class, (struct batch){0, 0}, 0);
    }
    if (batch.count || capacity != had) {
        credit_return(class, had + batch.count - capacity);
        set_list(t, class, batch, capacity);
    }
    if (batch.count)
        grow_target(t, class);
    return batch.count;
}

static void shorten(struct bin *b, struct bin_ledger *l, uint32_t by)
{
    cache_next_version(l);
    cache_store(&b->limit, cache_load(&b->limit) - by);
    move_start(b, l, by);
    cache_store32(&b->capacity, cache_load32(&b->capacity) - by);
    cache_next_version(l);
}

// Room on one of this thread's lists becomes credit for another. Called by the owner, busy.
static uint32_t squeeze(struct cache *t, unsigned from, unsigned class)
{
    struct bin *b = &t->bin[from];
    struct bin_ledger *l = &t->ledger[from];
    uint32_t want = t->ledger[class].target;
    uint32_t room = cache_load32(&b->capacity) - cache_list_length(b);
    uint32_t spare_room = cache_load32(&l->spare_capacity) - cache_load32(&b->spare_count);

    if (!room && !spare_room)
        return 0;
    if (l->target > target_first(from))
        l->target /= 2;
    if (spare_room > want)
        spare_room = want;
    if (room > want - spare_room)
        room = want - spare_room;
    if (room)
        shorten(b, l, room);
    cache_store32(&l->spare_capacity, cache_load32(&l->spare_capacity) - spare_room);
    return credit_move(from, class, room + spare_room);
}

static bool displace_oldest(unsigned class)
{
    struct batch batch = depot_get_oldest(class);

    if (!batch.count)
        return false;
    delete_batch(batch);
    credit_return(class, batch.count);
    return true;
}

// A batch that lies in the depot for another class of the bucket goes back to jemalloc: it was not
// needed lately, and this block was. Without that, a program whose sizes shift would fill a bucket
// once and go past it ever after.
static bool displace(unsigned class)
{
    const struct credit_classes *all = credit_classes(class);

    for (unsigned i = 0; i < all->count; i++)
        if (all->class[i] != class && displace_oldest(all->class[i]))
            return true;
    return false;
}

// Credit for as many blocks as the class's target, or for fewer; 0 when all is taken by others.
static uint32_t take_credit(struct cache *t, unsigned class)
{
    uint32_t got = credit_take(class, t->ledger[class].target);
    const struct credit_classes *all = credit_classes(class);

    for (unsigned i = 0; !got && i < all->count; i++)
        if (all->class[(class + i) % all->count] != class)
            got = squeeze(t, all->class[(class + i) % all->count], class);
    while (!got && displace(class))
        got = credit_take(class, t->ledger[class].target);
    return got;
}

// Deletes the first blocks of the older list, so that as many fit again. What a full bucket has no
// room for goes by a few at a time, which costs half of what it does one by one; but only where the
// program frees and frees, for one that takes as well would soon miss them.
static bool cut(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    struct batch first, rest;

    if (cache_load32(&b->spare_count))
        swap_with_spare(t, class);
    first = rest = (struct batch){b->head, cache_list_length(b)};
    l->excess = l->excess_at != cache_load(&b->limit) ? 1 : l->excess * 2;
    l->excess_at = cache_load(&b->limit);
    if (l->excess > target_first(class))
        l->excess = target_first(class);
    if (first.count > l->excess)
        first.count = l->excess;
    for (uint32_t n = 0; n < first.count; n++)
        rest.head = region_entry(rest.head)->link;
    rest.count -= first.count;
    set_list(t, class, rest, cache_load32(&b->capacity));
    delete_batch(first);
    cache_add(&overflows[class], first.count);
    return first.count;
}

bool lists_make_room(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    struct batch spare = spare_of(b);
    uint32_t capacity;

    if (!spare.count && cache_load32(&l->spare_capacity)) {
        swap_with_spare(t, class);
        return true;
    }
    if (spare.count)
        grow_target(t, class);
    capacity = take_credit(t, class);
    if (!capacity && cut(t, class))
        return true;
    if (!capacity && displace_oldest(class))
        capacity = take_credit(t, class);
    if (!capacity) {
        cache_add(&overflows[class], 1);
        return false;
    }
    if (spare.count) {
        // Both lists are full: the older one travels on, and its credit with it.
        credit_return(class, cache_load32(&l->spare_capacity) - spare.count);
        shelve(class, spare);
        set_spare(t, class, (struct batch){0, 0}, 0);
    }
    if (cache_load32(&b->capacity))
        swap_with_spare(t, class);
    set_list(t, class, (struct batch){0, 0}, capacity);
    return true;
}

void lists_empty_class(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    struct batch current = {b->head, cache_list_length(b)}, spare = spare_of(b);
    uint32_t credit = cache_load32(&b->capacity) + cache_load32(&l->spare_capacity);

    if (!credit)
        return;
    shelve(class, current);
    shelve(class, spare);
    cache_add(&drained[class], current.count + spare.count);
    credit_return(class, credit - current.count - spare.count);
    set_list(t, class, (struct batch){0, 0}, 0);
    set_spare(t, class, (struct batch){0, 0}, 0);
    if (l->target > target_first(class))
        l->target /= 2;
}

void lists_empty(struct cache *t)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        lists_empty_class(t, class);
}

void lists_init(struct cache *t, uint64_t interval)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        t->ledger[class].target = target_first(class);
        lists_draw(t, class, interval);
    }
}

void lists_count_request(struct cache *t, unsigned class, int by)
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
