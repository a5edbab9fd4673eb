#include "pool/cache.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "pool/credit.h"
#include "pool/pace.h"

// A list starts at 16 blocks or 64 KiB, whichever is less, and doubles up to 64 blocks: moving a
// list costs some 50 ns, a pooled malloc 3, so longer lists would only keep memory from others.
#define TARGET_FIRST_BYTES ((size_t)64 << 10)
#define TARGET_FIRST 16u
#define TARGET_MAX 64u

// An owner is inside for nanoseconds, unless the scheduler takes it off its processor there.
#define WAIT_FOR_OWNER_NS 5000000

// Where a thread has no cache: `nobody` before its first request, `departed` after its exit and
// while it attaches.
static struct cache nobody = {.busy = 1}, departed = {.busy = 1};
_Thread_local struct cache *cache_self = &nobody;

static struct {
    pthread_mutex_t lock; // before the depot's locks; held while caches are revoked
    // Every cache there is; only ever prepended, so whoever only counts needs no lock.
    struct cache *_Atomic all;
    _Atomic unsigned threads;
    _Atomic bool can_revoke; // as far as the kernel was heard yet; never again once it refused
    bool has_key;
    pthread_key_t key;
    struct cache *forking; // of the thread that forks, while it does
    _Atomic uint64_t drained[SIZE_CLASS_END], overflows[SIZE_CLASS_END];
    // What caches counted before they went from one thread to the next needs no place here: the
    // counters stay in the cache.
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

bool cache_entered(void)
{
    return cache_self != &nobody && atomic_load_explicit(&cache_self->busy, memory_order_relaxed);
}

// Acquire and release, for those who count: see read_bin(). On x86 they cost nothing.
static uint64_t load(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

static void store(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_release);
}

static uint32_t load32(_Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void store32(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void next_version(struct bin_ledger *l)
{
    store32(&l->version, load32(&l->version) + 1);
}

static uint32_t list_length(struct bin *b)
{
    return (uint32_t)(load(&b->pushed) - (load(&b->limit) - load32(&b->capacity)));
}

static struct batch spare_of(struct bin *b)
{
    return (struct batch){b->spare_head, load32(&b->spare_count)};
}

static void set_spare(struct cache *t, unsigned class, struct batch batch, uint32_t capacity)
{
    t->bin[class].spare_head = batch.head;
    store32(&t->bin[class].spare_count, batch.count);
    store32(&t->ledger[class].spare_capacity, capacity);
}

// Moves the start of both counters, which changes nothing that is counted. Between two versions.
static void move_start(struct bin *b, struct bin_ledger *l, uint64_t by)
{
    store(&l->moved_out, load(&l->moved_out) + by);
    store(&l->moved_in, load(&l->moved_in) + by);
    store(&b->pushed, load(&b->pushed) + by);
    store(&b->limit, load(&b->limit) + by);
}

// Puts a whole list, with its credit, in place of the current one, which the caller has taken care
// of. The counters move as if the old blocks had been taken and the new ones pushed one by one, and
// then their start, by as much as leaves `limit` where it is: so far from the next sample.
static void set_list(struct cache *t, unsigned class, struct batch list, uint32_t capacity)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint32_t old = list_length(b);
    uint64_t start = (uint64_t)load32(&b->capacity) - capacity - old;

    ASSERT(list.count <= capacity);
    next_version(l);
    store(&l->moved_out, load(&l->moved_out) + old + start);
    store(&l->moved_in, load(&l->moved_in) + list.count + start);
    store(&b->pushed, load(&b->pushed) + list.count + start);
    b->head = list.head;
    store32(&b->capacity, capacity);
    next_version(l);
}

// Draws the distance to the next sample anew. The owner, or nobody can see the cache yet.
static void draw_sample(struct cache *t, unsigned class, uint64_t interval)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint64_t distance = interval ? pace_requests(size_class_bytes(class), interval) : CACHE_NEVER;

    l->interval = interval;
    next_version(l);
    move_start(b, l, -distance - load(&b->limit));
    next_version(l);
}

static void swap_with_spare(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    struct batch current = {b->head, list_length(b)};
    uint32_t capacity = load32(&b->capacity);

    set_list(t, class, spare_of(b), load32(&l->spare_capacity));
    set_spare(t, class, current, capacity);
}

static void delete_batch(struct batch batch)
{
    for (uint32_t unit = batch.head, next; batch.count--; unit = next) {
        next = region_entry(unit)->link;
        region_block_delete(unit);
    }
}

// Shelves a batch together with its credit; what the depot has no room for goes to jemalloc.
static void shelve(unsigned class, struct batch batch)
{
    if (batch.count && !depot_put(class, batch)) {
        delete_batch(batch);
        credit_return(class, batch.count);
    }
}

static uint32_t target_first(unsigned class)
{
    size_t by_bytes = TARGET_FIRST_BYTES / size_class_bytes(class);

    return by_bytes > TARGET_FIRST ? TARGET_FIRST : by_bytes ? (uint32_t)by_bytes : 1;
}

// The longest list that leaves room for the other classes of the bucket, for a current and a spare
// list each, and for the other threads.
static uint32_t target_max(unsigned class)
{
    const struct credit_bucket *bucket = credit_bucket((unsigned)credit_bucket_of(class));
    uint64_t bytes = size_class_bytes(class);
    uint64_t share = 8 * (uint64_t)cache_threads();
    uint64_t by_bucket = (bucket->limit_is_bytes ? bucket->limit / bytes : bucket->limit) / share;
    uint64_t by_bytes = credit_max() / bytes / share;
    uint64_t max = by_bucket < by_bytes ? by_bucket : by_bytes;

    return max > TARGET_MAX ? TARGET_MAX : max ? (uint32_t)max : 1;
}

static void grow_target(struct bin_ledger *l, unsigned class)
{
    uint32_t max = target_max(class);

    l->target = l->target * 2 > max ? max : l->target * 2;
}

// After a time of much traffic the next sample may be far, and the traffic gone.
static void draw_nearer(struct cache *t, unsigned class)
{
    uint64_t interval = t->ledger[class].interval, now;

    if (likely(interval <= 2 * pace_interval_bytes))
        return;
    now = pace_interval_now();
    if (now <= interval / 4)
        draw_sample(t, class, now);
}

// Fills the empty current list. Called by the owner, busy.
static bool refill(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];

    if (load32(&b->spare_count)) {
        swap_with_spare(t, class);
        return true;
    }
    struct batch batch = depot_get(class);
    if (!batch.count)
        return false;
    // The batch brings credit for its blocks, so what the empty list held is one too many.
    uint32_t had = load32(&b->capacity);
    uint32_t capacity = had > batch.count ? had : batch.count;
    credit_return(class, had + batch.count - capacity);
    set_list(t, class, batch, capacity);
    grow_target(l, class);
    return true;
}

// Lowers the capacity of this thread's lists to what is on them, for the other classes of the
// bucket. Called by the owner, busy.
static void squeeze(struct cache *t, unsigned class)
{
    for (unsigned other = 1; other < SIZE_CLASS_END; other++) {
        if (other == class || credit_bucket_of(other) != credit_bucket_of(class))
            continue;
        struct bin *b = &t->bin[other];
        struct bin_ledger *l = &t->ledger[other];
        struct batch current = {b->head, list_length(b)}, spare = spare_of(b);
        credit_return(other, load32(&b->capacity) + load32(&l->spare_capacity) - current.count -
                                 spare.count);
        next_version(l);
        store(&b->limit, load(&b->limit) - load32(&b->capacity) + current.count);
        move_start(b, l, (uint64_t)load32(&b->capacity) - current.count);
        store32(&b->capacity, current.count);
        next_version(l);
        set_spare(t, other, spare, spare.count);
        if (l->target > target_first(other))
            l->target /= 2;
    }
}

// A batch that lies in the depot for another class of the bucket goes back to jemalloc: it was not
// needed lately, and this block was. Without that, a program whose sizes shift would fill a bucket
// once and go past it ever after.
static bool displace(unsigned class)
{
    for (unsigned other = 1; other < SIZE_CLASS_END; other++) {
        if (other == class || credit_bucket_of(other) != credit_bucket_of(class))
            continue;
        struct batch batch = depot_get_oldest(other);
        if (!batch.count)
            continue;
        delete_batch(batch);
        credit_return(other, batch.count);
        return true;
    }
    return false;
}

// Credit for as many blocks as the class's target, or for fewer; 0 when all is taken by others.
static uint32_t take_credit(struct cache *t, unsigned class)
{
    uint32_t got = credit_take(class, t->ledger[class].target);

    if (got)
        return got;
    squeeze(t, class);
    do
        got = credit_take(class, t->ledger[class].target);
    while (!got && displace(class));
    return got;
}

// Makes room on the full current list. Called by the owner, busy; false when all credit is taken.
static bool make_room(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    struct batch spare = spare_of(b);

    if (spare.count) {
        // Both lists are full: the older one travels on, and its credit with it.
        credit_return(class, load32(&l->spare_capacity) - spare.count);
        shelve(class, spare);
        set_spare(t, class, (struct batch){0, 0}, 0);
        grow_target(l, class);
    }
    if (load32(&b->capacity))
        swap_with_spare(t, class);
    if (!load32(&b->capacity))
        set_list(t, class, (struct batch){0, 0}, take_credit(t, class));
    if (load32(&b->capacity))
        return true;
    count(&registry.overflows[class], 1);
    return false;
}

// Gives up all that one class of a cache holds. Called by whoever owns the cache now.
static void empty_class(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    struct batch current = {b->head, list_length(b)}, spare = spare_of(b);
    uint32_t credit = load32(&b->capacity) + load32(&l->spare_capacity);

    if (!credit)
        return;
    shelve(class, current);
    shelve(class, spare);
    count(&registry.drained[class], current.count + spare.count);
    credit_return(class, credit - current.count - spare.count);
    set_list(t, class, (struct batch){0, 0}, 0);
    set_spare(t, class, (struct batch){0, 0}, 0);
    if (l->target > target_first(class))
        l->target /= 2;
}

static void empty_cache(struct cache *t)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        empty_class(t, class);
}

static struct cache *new_cache(void)
{
    struct cache *t;
    long at = syscall(SYS_mmap, NULL, sizeof *t, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);

    if (at == -1)
        return NULL;
    t = (struct cache *)at;
    uint64_t interval = pace_is_on() ? pace_first_interval() : 0;
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        t->ledger[class].target = target_first(class);
        draw_sample(t, class, interval);
    }
    t->next = registry.all;
    atomic_store_explicit(&registry.all, t, memory_order_release);
    return t;
}

// The calling thread's cache, made or taken over from a thread that is gone; NULL when it cannot
// have one.
static struct cache *attach(void)
{
    struct cache *t;
    int saved = errno;

    if (!registry.has_key)
        return NULL;
    cache_self = &departed;
    pthread_mutex_lock(&registry.lock);
    for (t = registry.all; t && t->attached; t = t->next)
        ;
    if (!t)
        t = new_cache();
    if (t)
        t->attached = true;
    pthread_mutex_unlock(&registry.lock);
    // May allocate: less than 1 KiB, and while this thread counts as departed.
    if (t && pthread_setspecific(registry.key, t) != 0) {
        t->attached = false;
        t = NULL;
    }
    if (t) {
        atomic_fetch_add_explicit(&registry.threads, 1, memory_order_relaxed);
        cache_self = t;
    }
    errno = saved;
    return t;
}

// The key's destructor. Other destructors may still allocate and free: they are served directly.
static void detach(void *arg)
{
    struct cache *t = arg;

    cache_self = &departed;
    // With the lock no one else is revoking, so the cache is ours.
    pthread_mutex_lock(&registry.lock);
    empty_cache(t);
    t->attached = false;
    pthread_mutex_unlock(&registry.lock);
    atomic_fetch_sub_explicit(&registry.threads, 1, memory_order_relaxed);
}

// Without membarrier the owner is asked by `revoked` to empty its cache itself.
static void heed_request(struct cache *t)
{
    if (registry.can_revoke || atomic_load_explicit(&t->busy, memory_order_relaxed))
        return;
    if (!atomic_exchange_explicit(&t->revoked, 0, memory_order_acquire) || !cache_enter(t))
        return;
    empty_cache(t);
    cache_leave(t);
}

static struct cache *own_cache(void)
{
    struct cache *t = cache_self;

    if (t == &nobody)
        t = attach();
    else
        heed_request(t);
    return t ? t : &departed;
}

void *cache_pop_slow(unsigned class)
{
    struct cache *t = own_cache();
    bool filled;

    if (!cache_enter(t))
        return NULL;
    draw_nearer(t, class);
    filled = t->bin[class].head || refill(t, class);
    cache_leave(t);
    return filled ? cache_pop(class) : NULL;
}

bool cache_push_slow(uint32_t unit)
{
    unsigned class = region_entry(unit)->class;
    struct cache *t = own_cache();
    bool room;

    if (!cache_enter(t))
        return false;
    room = list_length(&t->bin[class]) < load32(&t->bin[class].capacity) || make_room(t, class);
    cache_leave(t);
    return room && cache_push(region_address(unit));
}

enum cache_sample cache_sample(unsigned class, uint64_t *interval)
{
    struct cache *t = own_cache();
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    bool due;

    if (!cache_enter(t))
        return CACHE_UNCOUNTED;
    due = load(&b->limit) == CACHE_DUE;
    if (due) {
        *interval = l->interval;
        draw_sample(t, class, pace_next_interval());
    } else {
        next_version(l);
        move_start(b, l, 1);
        next_version(l);
    }
    cache_leave(t);
    return due ? CACHE_SAMPLED : CACHE_ORDINARY;
}

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

bool cache_init(void)
{
    registry.has_key = pthread_key_create(&registry.key, detach) == 0;
    registry.can_revoke = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    return registry.can_revoke;
}

unsigned cache_threads(void)
{
    unsigned threads = atomic_load_explicit(&registry.threads, memory_order_relaxed);

    return threads ? threads : 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void set_revoked(struct cache *t, bool revoked)
{
    atomic_store_explicit(&t->revoked, revoked, memory_order_release);
}

// Waits until the owner of a revoked cache has left it; false when it takes too long, as when a
// signal handler left the owner's critical section for good by longjmp.
static bool wait_for_owner(struct cache *t)
{
    uint64_t end = 0;

    while (atomic_load_explicit(&t->busy, memory_order_acquire)) {
        if (!end)
            end = now_ns() + WAIT_FOR_OWNER_NS;
        else if (now_ns() > end)
            return false;
        sched_yield();
    }
    return true;
}

// Has this class lain still since the last ageing? A look without the owner's leave: it decides
// only whether to ask.
static bool is_idle(struct cache *t, unsigned class)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint64_t now = load(&b->pushed) + load(&b->limit);
    bool idle = now == l->seen;

    l->seen = now;
    return idle;
}

// After this no owner is inside a revoked cache whom wait_for_owner() does not see. False where the
// kernel refuses: from the start, or since the process entered a sandbox; then owners are asked.
static bool fence_owners(void)
{
    if (registry.can_revoke && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0)
        registry.can_revoke = false;
    return registry.can_revoke;
}

// Marks the classes of a cache that are to be emptied; returns whether there are any. As racy as
// is_idle().
static bool choose(struct cache *t, bool idle_only)
{
    bool any = false;

    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        struct bin_ledger *l = &t->ledger[class];
        bool idle = !idle_only || is_idle(t, class);
        l->chosen = idle && (load32(&t->bin[class].capacity) || load32(&l->spare_capacity));
        any |= l->chosen;
    }
    return any;
}

static void empty_chosen(struct cache *t)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        if (t->ledger[class].chosen)
            empty_class(t, class);
}

void cache_drain_all(bool idle_only)
{
    bool can_revoke;

    pthread_mutex_lock(&registry.lock);
    for (struct cache *t = registry.all; t; t = t->next) {
        t->chosen = choose(t, idle_only);
        if (t->chosen)
            set_revoked(t, true);
    }
    can_revoke = fence_owners();
    for (struct cache *t = registry.all; can_revoke && t; t = t->next) {
        if (t->chosen && wait_for_owner(t))
            empty_chosen(t);
        set_revoked(t, false);
    }
    pthread_mutex_unlock(&registry.lock);
    if (!can_revoke)
        heed_request(cache_self);
}

uint64_t cache_drain_self(void)
{
    struct cache *t = cache_self;
    uint64_t bytes = 0;

    if (!cache_enter(t))
        return 0;
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        bytes += size_class_bytes(class) *
                 (list_length(&t->bin[class]) + (uint64_t)load32(&t->bin[class].spare_count));
    empty_cache(t);
    cache_leave(t);
    return bytes;
}

// What a list counts, read while its owner runs. Where a list is being exchanged the look is
// repeated, for that takes some ns; but not for ever, as its owner may have lost its processor
// there. Then the last count has to do: half an exchange may add up to anything.
static void count_list(struct cache *t, unsigned class, struct cache_count *counted)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint64_t popped, pushed, moved_out, moved_in;
    uint32_t version, spare;
    bool fits;
    int tries = 100;

    do {
        version = load32(&l->version);
        if (version & 1)
            sched_yield();
        // In this order: what was popped before is at most what was pushed after.
        popped = load(&b->limit) - load32(&b->capacity);
        pushed = load(&b->pushed);
        moved_out = load(&l->moved_out);
        moved_in = load(&l->moved_in);
        spare = load32(&b->spare_count);
        fits = !(version & 1) && load32(&l->version) == version;
    } while (!fits && --tries);
    if (fits && popped - moved_out != load(&l->counted_mallocs))
        store(&l->counted_mallocs, popped - moved_out);
    if (fits && pushed - moved_in != load(&l->counted_frees))
        store(&l->counted_frees, pushed - moved_in);
    spare += (uint32_t)(pushed > popped ? pushed - popped : 0);
    if (fits && spare != load32(&l->counted_free))
        store32(&l->counted_free, spare);
    counted->mallocs += load(&l->counted_mallocs);
    counted->frees += load(&l->counted_frees);
    counted->free_blocks += load32(&l->counted_free);
}

void cache_count(struct cache_count counted[SIZE_CLASS_END])
{
    for (unsigned class = 0; class < SIZE_CLASS_END; ++class)
        counted[class] = (struct cache_count){0};
    for (struct cache *t = registry.all; t; t = t->next)
        for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
            count_list(t, class, &counted[class]);
}

uint64_t cache_drained(unsigned class)
{
    return load(&registry.drained[class]);
}

uint64_t cache_overflows(unsigned class)
{
    return load(&registry.overflows[class]);
}

void cache_prefork(void)
{
    pthread_mutex_lock(&registry.lock);
    for (struct cache *t = registry.all; t; t = t->next)
        if (t != cache_self)
            set_revoked(t, true);
    fence_owners();
    for (struct cache *t = registry.all; t; t = t->next)
        if (t != cache_self)
            wait_for_owner(t);
    depot_lock_all();
    // The program's handlers that were registered before ours run from here to postfork, in this
    // thread: the depot is locked, so they are served by jemalloc.
    registry.forking = cache_self;
    cache_self = &departed;
}

void cache_postfork_parent(void)
{
    cache_self = registry.forking;
    depot_unlock_all();
    for (struct cache *t = registry.all; t; t = t->next)
        set_revoked(t, false);
    pthread_mutex_unlock(&registry.lock);
}

void cache_postfork_child(void)
{
    cache_self = registry.forking;
    depot_unlock_all();
    for (struct cache *t = registry.all; t; t = t->next) {
        set_revoked(t, false);
        if (t == cache_self || !t->attached)
            continue;
        // A cache whose owner could not be stopped may be half way through a list: what it holds
        // is lost to this child, as it would be to a thread that was killed there.
        if (registry.can_revoke && !atomic_load_explicit(&t->busy, memory_order_relaxed)) {
            empty_cache(t);
            t->attached = false;
        }
    }
    atomic_store_explicit(&registry.threads, cache_self != &nobody && cache_self != &departed,
                          memory_order_relaxed);
    pthread_mutex_unlock(&registry.lock);
}
