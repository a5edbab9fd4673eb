#include "pool/pool.h"

#include <errno.h>
#include <sys/mman.h>

#include "pool/common/marks.h"
#include "pool/common/pages.h"
#include "pool/common/sampler.h"
#include "pool/jemalloc_private/je_fork.h"
#include "pool/jemalloc_private/large_cache.h"
#include "pool/region/growth.h"
#include "pool/region/remap.h"
#include "pool/thread_cache/bins.h"
#include "pool/thread_cache/transfer_cache.h"
#include "shim/clock.h"

#define RUN_ALIGNMENT_MAX ((size_t)2 << 20)

struct pool_range pool_range = {SIZE_CLASS_MIN_BYTES,
                                SIZE_CLASS_MAX_BYTES - SIZE_CLASS_MIN_BYTES + 1};

static struct {
    _Atomic bool frugal;
    _Atomic uint64_t warmed[SIZE_CLASS_END];         // created to be ready, for no request yet
    _Atomic uint64_t freed_directly[SIZE_CLASS_END]; // released without ever being on a list
} pool;

// The latest requests of a class that came by a slow path, which is where their size is known and
// there is time to note it: how much of a block they asked for. Plain loads and stores, so that
// threads that meet here lose a note now and then: it is a mean, and costs 2 ns.
#define NOTES_MAX 4096
static struct {
    _Alignas(64) _Atomic uint64_t requests;
    _Atomic uint64_t bytes;
} noted[SIZE_CLASS_END];

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t load(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void set(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, n, memory_order_relaxed);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void note_request(unsigned class, size_t size)
{
    uint64_t requests = load(&noted[class].requests) + 1, bytes = load(&noted[class].bytes) + size;

    // Older requests count half, so that the mean follows the program.
    if (requests >= NOTES_MAX) {
        requests /= 2;
        bytes /= 2;
    }
    set(&noted[class].requests, requests);
    set(&noted[class].bytes, bytes);
}

// Bytes that `blocks` blocks have beyond what was asked for.
static uint64_t slack_of(unsigned class, uint64_t blocks)
{
    uint64_t requests = load(&noted[class].requests);
    uint64_t mean = requests ? load(&noted[class].bytes) / requests : size_class_bytes(class);

    return mean < size_class_bytes(class) ? blocks * (size_class_bytes(class) - mean) : 0;
}

int pool_init(const struct pool_options *options, bool *can_drain)
{
    size_t last = 0;
    int err = -ENODEV;

    *can_drain = false;
    size_class_init();
    quota_init(options->bucket, options->bucket_count, options->max_bytes);
    for (unsigned class = 1; class <= SIZE_CLASS_PLAIN; ++class)
        if (quota_bucket_of(class) >= 0)
            last = size_class_bytes(class);
    if (last)
        err = region_init(options->thp);
    if (err) {
        pool_range.span = 0;
        return err;
    }
    *can_drain = cache_init();
    large_cache_init(region.arena);
    pool_range.span = last - pool_range.first + 1;
    return 0;
}

// 0 where the pools do not serve the size after all.
static unsigned pooled_class(size_t size)
{
    unsigned class;

    if (!region_bytes() || !pool_takes(size))
        return 0;
    class = size_class_of(size);
    return quota_bucket_of(class) >= 0 ? class : 0;
}

size_t pool_block_bytes(size_t size, bool page_aligned)
{
    unsigned class = pooled_class(size);

    if (!class)
        return 0;
    return page_aligned ? size_class_run_bytes(class) : size_class_bytes(class);
}

void *pool_get_transferred(size_t size, bool zero)
{
    unsigned class = pooled_class(size);
    void *ptr = class ? cache_pop_slow(class) : NULL;

    if (ptr)
        note_request(class, size);
    if (ptr && zero)
        __builtin_memset(ptr, 0, size);
    return ptr;
}

bool pool_sample(size_t size, size_t *trial, uint64_t *interval)
{
    unsigned class = pooled_class(size);

    // In a class all requests count alike, whatever their size.
    *trial = class ? size_class_bytes(class) : size;
    switch (class ? cache_sample(class, interval) : CACHE_UNCOUNTED) {
    case CACHE_SAMPLED:
        return true;
    case CACHE_ORDINARY:
        return false;
    default:
        return sampler_counts(*trial, interval);
    }
}

void *pool_run_new(size_t size, size_t alignment, bool zero)
{
    // The region is the pools' first of all. Address space in front of an aligned run is lost to
    // it.
    if (alignment > RUN_ALIGNMENT_MAX || size > region.max_bytes / 8 ||
        region_run_bytes() + size > region.max_bytes / 2)
        return NULL;
    return region_run_new(size, alignment, zero);
}

size_t pool_sampled_size(const void *ptr)
{
    unsigned class = region_entry_at(ptr)->class;

    if (!region_is_sampled(ptr))
        return 0;
    return class >= SIZE_CLASS_RUN ? region_run_size(ptr) : size_class_bytes(class);
}

void pool_set_frugal(bool frugal)
{
    atomic_store_explicit(&pool.frugal, frugal, memory_order_relaxed);
}

bool pool_is_frugal(void)
{
    return atomic_load_explicit(&pool.frugal, memory_order_relaxed);
}

void *pool_get_new(size_t size, bool zero)
{
    unsigned class = pooled_class(size);
    void *ptr = class ? region_block_new(class, zero) : NULL;

    if (ptr) {
        note_request(class, size);
        quota_note_miss(class, clock_ms(CLOCK_MONOTONIC_COARSE));
    }
    if (ptr && pool_is_frugal())
        ptr = region_block_trim(ptr, size);
    return ptr;
}

void pool_give_rest(const void *ptr, size_t size, size_t have)
{
    uintptr_t from = ((uintptr_t)ptr + size + 4095) & ~(uintptr_t)4095;
    uintptr_t to = ((uintptr_t)ptr + have) & ~(uintptr_t)4095;
    int saved = errno;

    if (to >= from + POOL_REST_MIN_BYTES)
        pages_madvise((void *)from, to - from, MADV_DONTNEED);
    errno = saved;
}

bool pool_resize(void *ptr, size_t size)
{
    unsigned old = region_entry_at(ptr)->class, new = region_class_in_place(ptr, size);
    bool grows = size > size_class_bytes(old);

    if (!new || quota_bucket_of(new) < 0)
        return false;
    if (grows)
        growth_leave(ptr, size);
    else
        growth_stop(ptr);
    if (!region_block_resize(ptr, new))
        return false;
    add(&pool.freed_directly[old], 1);
    note_request(new, size);
    if (grows)
        growth_begin(ptr, size);
    return true;
}

enum pool_misuse pool_misuse_of(const void *ptr)
{
    const struct entry *e = region_entry_at(ptr);
    uint64_t unit = region_unit(ptr);

    // Elsewhere than where a block began in this KiB last.
    if (!region_is_free(e, unit))
        return POOL_INVALID_FREE;
    return e->class ? POOL_DOUBLE_FREE : POOL_INVALID_FREE;
}

enum pool_misuse pool_put_slow(void *ptr)
{
    uint32_t unit = (uint32_t)region_unit(ptr);

    switch (region_claim(ptr)) {
    case REGION_NOT_OUT:
        return pool_misuse_of(ptr);
    case REGION_LIVE_SAMPLED:
        // Its pages may be marked as well: then it is for jemalloc.
        if (!growth_end(ptr) || atomic_load_explicit(&marks_were_made, memory_order_relaxed))
            return POOL_SAMPLED;
        break;
    default:
        break;
    }
    if (cache_push_slow(unit))
        return POOL_FINE;
    add(&pool.freed_directly[region_entry(unit)->class], 1);
    region_block_delete(unit);
    return POOL_RELEASED;
}

void pool_put_sampled(void *ptr)
{
    unsigned class = region_entry_at(ptr)->class;

    if (class < SIZE_CLASS_RUN)
        add(&pool.freed_directly[class], 1);
    region_block_delete((uint32_t)region_unit(ptr));
}

uint32_t pool_warm_up(size_t size, uint32_t wanted)
{
    unsigned class = pooled_class(size);
    uint32_t made = 0, left;

    if (!class)
        return 0;
    quota_expect(class, wanted);
    for (left = quota_take(class, wanted); left; left--, made++) {
        void *ptr = region_block_new(class, false);
        uint32_t unit = ptr ? (uint32_t)region_unit(ptr) : 0;
        if (!ptr)
            break;
        region_set_state(region_entry(unit), (uint8_t)unit ^ REGION_FREE);
        if (!transfer_put(class, &unit, 1)) {
            region_block_delete(unit);
            add(&pool.warmed[class], 1); // or it would pass for a request
            break;
        }
    }
    quota_return(class, left);
    add(&pool.warmed[class], made);
    return made;
}

uint64_t pool_trim(uint64_t keep_bytes)
{
    uint64_t released = 0, count;
    struct cache *self;

    if (!region_bytes())
        return 0;
    if (quota_taken_bytes() + large_cache_bytes() > keep_bytes)
        released = large_cache_drain();
    cache_drain_all(false);
    self = cache_step_aside();
    // The largest first: they give most for a call into jemalloc.
    for (unsigned class = SIZE_CLASS_COUNT; class > 0; --class)
        while (quota_taken_bytes() > keep_bytes && (count = bins_release_oldest(class, UINT64_MAX)))
            released += count * size_class_bytes(class);
    cache_step_back(self);
    return released;
}

// How many that lie in the transfer cache may give way: not those that were made to be ready.
static uint64_t spare(unsigned class)
{
    return cache_gives_way(class) ? less(transfer_count(class), load(&pool.warmed[class])) : 0;
}

// The class with most bytes of them; 0 where there are none.
static unsigned fullest_class(void)
{
    unsigned fullest = 0;
    uint64_t most = 0;

    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        uint64_t bytes = spare(class) * size_class_bytes(class);
        if (bytes > most) {
            most = bytes;
            fullest = class;
        }
    }
    return fullest;
}

// What gives way costs a call into jemalloc, and one more where it is wanted again: 800 ns or so.
// In each window 2 % of a processor goes into that at most. Without such an end a queue of blocks
// of random sizes ran ten times slower.
#define WAY_WINDOW_MS 16
#define WAY_BLOCKS 400
static struct {
    _Atomic uint64_t window, blocks; // given in that window
} way;

bool pool_may_give_way(void)
{
    uint64_t now = clock_ms(CLOCK_MONOTONIC_COARSE) / WAY_WINDOW_MS;

    if (load(&way.window) != now) {
        set(&way.window, now);
        set(&way.blocks, 0);
    }
    return load(&way.blocks) < WAY_BLOCKS;
}

static uint64_t give_fullest(uint64_t bytes)
{
    uint64_t released = 0, count;
    unsigned class;

    while (released < bytes && pool_may_give_way() && (class = fullest_class()) &&
           (count = bins_release_oldest(class, spare(class)))) {
        set(&way.blocks, load(&way.blocks) + count);
        released += count * size_class_bytes(class);
    }
    return released;
}

uint64_t pool_give_way(uint64_t bytes)
{
    struct cache *self;
    uint64_t released;

    if (!pool_may_give_way())
        return 0;
    cache_drain_self_large();
    self = cache_step_aside();
    released = give_fullest(bytes);
    cache_step_back(self);
    if (released < bytes && cache_drain_large()) {
        self = cache_step_aside();
        released += give_fullest(bytes - released);
        cache_step_back(self);
    }
    if (!released)
        set(&way.blocks, WAY_BLOCKS);
    return released;
}

uint64_t pool_drain_self(void)
{
    return region_bytes() ? cache_drain_self() : 0;
}

uint64_t pool_age(void)
{
    uint64_t released = 0;

    if (!region_bytes())
        return 0;
    large_cache_age();
    cache_drain_all(true);
    for (unsigned class = SIZE_CLASS_COUNT; class > 0; --class) {
        uint64_t idle = transfer_idle(class), count;
        for (; idle && (count = bins_release_oldest(class, idle)); idle -= count)
            released += count * size_class_bytes(class);
    }
    transfer_tidy();
    quota_age();
    if (released)
        region_purge();
    return released;
}

static void add_class(struct pool_bucket_stats *s, unsigned class, const struct cache_count *lists)
{
    uint64_t bytes = size_class_bytes(class),
             created = region_created(class) - load(&pool.warmed[class]);
    uint64_t taken = lists->mallocs + created;
    uint64_t freed = lists->frees + load(&pool.freed_directly[class]);
    uint64_t free_blocks = lists->free_blocks + transfer_count(class);

    s->created += created;
    s->reused += lists->mallocs;
    s->freed += freed;
    s->released += region_released(class);
    s->drained += cache_drained(class);
    s->overflows += cache_overflows(class);
    s->free_blocks += free_blocks;
    s->free_bytes += free_blocks * bytes;
    if (taken > freed) {
        s->live_blocks += taken - freed;
        s->live_bytes += (taken - freed) * bytes;
        s->slack_bytes += slack_of(class, taken - freed);
    }
}

uint64_t pool_free_bytes(void)
{
    struct cache_count lists[SIZE_CLASS_END];
    uint64_t bytes = large_cache_bytes();

    if (!region_bytes())
        return 0;
    cache_count(lists);
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        bytes += (lists[class].free_blocks + transfer_count(class)) * size_class_bytes(class);
    return bytes;
}

unsigned pool_stats(struct pool_bucket_stats stats[QUOTA_BUCKETS_MAX])
{
    struct cache_count lists[SIZE_CLASS_END];
    unsigned buckets = quota_bucket_count();

    cache_count(lists);
    for (unsigned b = 0; b < buckets; b++) {
        const struct quota_bucket *c = quota_bucket(b);
        stats[b] = (struct pool_bucket_stats){.bound_bytes = c->bound_bytes,
                                              .limit_is_bytes = c->limit_is_bytes};
    }
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        if (quota_bucket_of(class) >= 0)
            add_class(&stats[quota_bucket_of(class)], class, &lists[class]);
    // A batch on its way from one list to another may have been seen on both; the quota that it
    // travels with is exact, and never less than the blocks.
    for (unsigned b = 0; b < buckets; b++) {
        uint64_t taken = quota_bucket_taken(b);
        uint64_t *seen = stats[b].limit_is_bytes ? &stats[b].free_bytes : &stats[b].free_blocks;
        if (*seen > taken)
            *seen = taken;
        stats[b].limit = quota_limit(b);
    }
    return buckets;
}

void pool_prefork(void)
{
    if (region_bytes())
        cache_prefork();
    region_prefork();
}

void pool_postfork_parent(void)
{
    remap_postfork_parent();
    region_postfork_parent();
    if (region_bytes())
        cache_postfork_parent();
}

void pool_postfork_child(void)
{
    remap_postfork_child();
    marks_postfork_child();
    region_postfork_child();
    if (region_bytes())
        cache_postfork_child();
}

void pool_forget_threads(void)
{
    remap_postfork_child();
    if (region.bytes) {
        region_postfork_child();
        cache_forget_threads();
    }
    je_fork_forget_threads();
}
