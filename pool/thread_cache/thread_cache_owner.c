#include "pool/thread_cache/thread_cache.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "pool/common/guard.h"
#include "pool/common/sampler.h"
#include "pool/thread_cache/bins.h"
#include "pool/thread_cache/thread_cache_inside.h"
#include "shim/kernel.h"

struct cache cache_no_owner = {.busy = 1}, cache_departed = {.busy = 1};
_Thread_local struct cache *cache_self = &cache_no_owner;

struct cache_registry cache_registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

bool cache_entered(void)
{
    return cache_self != &cache_no_owner &&
           atomic_load_explicit(&cache_self->busy, memory_order_relaxed);
}

static struct cache *new_cache(void)
{
    struct cache *t = kernel_map(CACHE_BYTES, 0);

    if (!t)
        return NULL;
    bins_init(t, sampler_is_on() ? sampler_first_interval() : 0);
    t->next = cache_registry.all;
    atomic_store_explicit(&cache_registry.all, t, memory_order_release);
    return t;
}

// The calling thread's cache, made or taken over from a thread that is gone; NULL when it cannot
// have one.
static struct cache *attach(void)
{
    struct cache *t;
    int saved = errno;

    if (!cache_registry.has_key)
        return NULL;
    cache_self = &cache_departed;
    pthread_mutex_lock(&cache_registry.lock);
    for (t = cache_registry.all; t && t->attached; t = t->next)
        ;
    if (!t)
        t = new_cache();
    if (t)
        t->attached = true;
    pthread_mutex_unlock(&cache_registry.lock);
    // May allocate: less than 1 KiB, and while this thread counts as departed.
    if (t && pthread_setspecific(cache_registry.key, t) != 0) {
        t->attached = false;
        t = NULL;
    }
    if (t) {
        atomic_fetch_add_explicit(&cache_registry.threads, 1, memory_order_relaxed);
        cache_self = t;
    }
    errno = saved;
    return t;
}

// The key's destructor. Other destructors may still allocate and free: they are served directly.
static void detach(void *arg)
{
    struct cache *t = arg;

    cache_self = &cache_departed;
    // With the lock no other thread is revoking, so the cache is ours.
    pthread_mutex_lock(&cache_registry.lock);
    bins_empty(t);
    t->attached = false;
    pthread_mutex_unlock(&cache_registry.lock);
    atomic_fetch_sub_explicit(&cache_registry.threads, 1, memory_order_relaxed);
}

void cache_heed_request(struct cache *t)
{
    if (cache_registry.can_revoke || atomic_load_explicit(&t->busy, memory_order_relaxed))
        return;
    if (!atomic_exchange_explicit(&t->revoked, 0, memory_order_acquire) || !cache_enter(t))
        return;
    bins_empty(t);
    cache_leave(t);
}

// Inside jemalloc a handler gets none: what follows takes locks of the pools. A thread that holds
// one of those may be interrupted by a handler that waits for jemalloc's.
static struct cache *own_cache(void)
{
    struct cache *t = cache_self;

    if (guard_entered())
        return &cache_departed;
    if (t == &cache_no_owner)
        t = attach();
    else
        cache_heed_request(t);
    return t ? t : &cache_departed;
}

void *cache_pop_slow(unsigned class)
{
    struct cache *t = own_cache();
    bool filled;

    if (!cache_enter(t))
        return NULL;
    bins_draw_nearer(t, class);
    filled = cache_list_length(&t->bin[class]) || bins_refill(t, class);
    cache_leave(t);
    cache_drain_idle_if_wanted();
    return filled ? cache_pop(class) : NULL;
}

static bool push_claimed(struct bin *b, uint32_t unit)
{
    uint32_t *top = atomic_load_explicit(&b->top, memory_order_relaxed);

    if (top >= atomic_load_explicit(&b->full, memory_order_relaxed))
        return false;
    top[1] = unit;
    atomic_store_explicit(&b->top, top + 1, memory_order_relaxed);
    return true;
}

bool cache_push_slow(uint32_t unit)
{
    unsigned class = region_entry(unit)->class;
    struct cache *t = own_cache();
    struct lists_leaving leaving;
    bool pushed;

    if (!cache_enter(t))
        return false;
    leaving.count = 0;
    pushed = push_claimed(&t->bin[class], unit) ||
             (bins_make_room(t, class, &leaving) && push_claimed(&t->bin[class], unit));
    cache_leave(t);
    bins_let_leave(&leaving);
    cache_drain_idle_if_wanted();
    return pushed;
}

enum cache_sample cache_sample(unsigned class, uint64_t *interval)
{
    struct cache *t = own_cache();
    bool due;

    if (!cache_enter(t))
        return CACHE_UNCOUNTED;
    due = cache_load(&t->bin[class].requests) == CACHE_DUE;
    if (due) {
        *interval = t->ledger[class].interval;
        bins_draw(t, class, sampler_next_interval());
        // The list counts what it serves.
        if (cache_list_length(&t->bin[class]) || bins_refill(t, class))
            bins_count_request(t, class, -1);
    } else {
        bins_count_request(t, class, 1);
    }
    cache_leave(t);
    return due ? CACHE_SAMPLED : CACHE_ORDINARY;
}

bool cache_init(void)
{
    cache_registry.has_key = pthread_key_create(&cache_registry.key, detach) == 0;
    return cache_can_revoke();
}

unsigned cache_threads(void)
{
    unsigned threads = atomic_load_explicit(&cache_registry.threads, memory_order_relaxed);

    return threads ? threads : 1;
}
