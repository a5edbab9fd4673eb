// thread_cache_drain - taking the blocks of all threads, idle ones above all; see thread_cache.h.
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

#include "pool/common/quota.h"
#include "pool/thread_cache/bins.h"
#include "pool/thread_cache/thread_cache_inside.h"
#include "shim/clock.h"

// An owner is inside for nanoseconds, unless the scheduler takes it off its processor there.
#define WAIT_FOR_OWNER_NS 5000000

#define IDLE_NS 10000000
#define IDLE_THREAD_NS UINT64_C(500000)

// Lists to be emptied: all, or those of which no block was taken or put since the last ageing, or
// since quota was missing last, or those of large blocks.
enum drained { ALL, AGED, IDLE, LARGE };

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

bool cache_gives_way(unsigned class)
{
    return size_class_run_bytes(class) >= SIZE_CLASS_FIRST_COLOURED_BYTES && quota_follows(class);
}

bool cache_can_revoke(void)
{
    cache_registry.can_revoke = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    return cache_registry.can_revoke;
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
            end = clock_ns(CLOCK_MONOTONIC) + WAIT_FOR_OWNER_NS;
        else if (clock_ns(CLOCK_MONOTONIC) > end)
            return false;
        sched_yield();
    }
    return true;
}

// Has this class lain still since *seen was noted? Read without revoking the cache: it decides only
// whether to revoke.
static bool is_idle(struct cache *t, unsigned class, uint64_t *seen)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    // A malloc adds 2 to one and takes 1 off the other, a free adds 1.
    uint64_t now = 2 * cache_load(&b->requests) + cache_list_length(b) - cache_load(&l->moved);
    bool idle = now == *seen;

    *seen = now;
    return idle;
}

// After this wait_for_owner() sees each owner that is inside a revoked cache. False where the
// kernel refuses: from the start, or since the process entered a sandbox; then owners are asked.
static bool fence_owners(void)
{
    if (cache_registry.can_revoke && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0)
        cache_registry.can_revoke = false;
    return cache_registry.can_revoke;
}

// Marks the classes of a cache that are to be emptied. Returns whether there are any. As racy as
// is_idle().
static bool choose(struct cache *t, enum drained which)
{
    bool any = false;

    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        struct bin_ledger *l = &t->ledger[class];
        bool chosen = which == AGED    ? is_idle(t, class, &l->aged)
                      : which == IDLE  ? is_idle(t, class, &l->seen)
                      : which == LARGE ? cache_gives_way(class)
                                       : true;
        l->chosen = chosen && cache_list_capacity(&t->bin[class]);
        any |= l->chosen;
    }
    return any;
}

static void empty_chosen(struct cache *t)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        if (t->ledger[class].chosen)
            bins_empty_class(t, class);
}

struct cache *cache_step_aside(void)
{
    struct cache *self = cache_self;

    cache_self = &cache_departed;
    atomic_signal_fence(memory_order_seq_cst);
    return self;
}

void cache_step_back(struct cache *self)
{
    atomic_signal_fence(memory_order_seq_cst);
    cache_self = self;
    // Where no cache can be revoked, all were asked.
    cache_heed_request(self);
}

static void drain(enum drained which)
{
    struct cache *self = cache_step_aside();
    bool can_revoke;

    pthread_mutex_lock(&cache_registry.lock);
    for (struct cache *t = cache_registry.all; t; t = t->next) {
        t->chosen = t->attached && choose(t, which);
        if (t->chosen)
            set_revoked(t, true);
    }
    can_revoke = fence_owners();
    for (struct cache *t = cache_registry.all; can_revoke && t; t = t->next) {
        if (t->chosen && wait_for_owner(t))
            empty_chosen(t);
        set_revoked(t, false);
    }
    pthread_mutex_unlock(&cache_registry.lock);
    cache_step_back(self);
}

// Where threads ask for it, at most every 10 ms and every 500 us a thread.
static bool may_drain(enum drained which)
{
    static _Atomic uint64_t due_ns[LARGE + 1];
    uint64_t due = atomic_load_explicit(&due_ns[which], memory_order_relaxed),
             now = clock_ns(CLOCK_MONOTONIC);

    // An owner that is only asked gives up its busy lists, too.
    return cache_registry.can_revoke && now >= due &&
           atomic_compare_exchange_strong(&due_ns[which], &due,
                                          now + IDLE_NS + cache_threads() * IDLE_THREAD_NS);
}

static _Atomic bool idle_wanted;

void cache_want_idle(void)
{
    if (!atomic_load_explicit(&idle_wanted, memory_order_relaxed))
        atomic_store_explicit(&idle_wanted, true, memory_order_relaxed);
}

void cache_drain_idle_if_wanted(void)
{
    int saved = errno;

    if (likely(!atomic_load_explicit(&idle_wanted, memory_order_relaxed)))
        return;
    atomic_store_explicit(&idle_wanted, false, memory_order_relaxed);
    if (may_drain(IDLE))
        drain(IDLE);
    errno = saved;
}

void cache_drain_self_large(void)
{
    struct cache *t = cache_self;

    if (!cache_enter(t))
        return;
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        if (cache_gives_way(class))
            bins_empty_class(t, class);
    cache_leave(t);
}

bool cache_drain_large(void)
{
    int saved = errno;
    bool drains = may_drain(LARGE);

    if (drains)
        drain(LARGE);
    errno = saved;
    return drains;
}

void cache_drain_all(bool idle_only)
{
    drain(idle_only ? AGED : ALL);
}

uint64_t cache_drain_self(void)
{
    struct cache *t = cache_self;
    uint64_t bytes = 0;

    if (!cache_enter(t))
        return 0;
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        bytes += size_class_bytes(class) * cache_list_length(&t->bin[class]);
    bins_empty(t);
    cache_leave(t);
    return bytes;
}

void cache_prefork(void)
{
    // The program's handlers that were registered before ours run from here to postfork, in this
    // thread, and a signal handler may: the transfer cache is locked, so nothing is served by it.
    struct cache *self = cache_step_aside();

    pthread_mutex_lock(&cache_registry.lock);
    for (struct cache *t = cache_registry.all; t; t = t->next)
        if (t != self)
            set_revoked(t, true);
    fence_owners();
    for (struct cache *t = cache_registry.all; t; t = t->next)
        if (t != self)
            wait_for_owner(t);
    transfer_lock_all();
    cache_registry.forking = self;
}

void cache_postfork_parent(void)
{
    struct cache *self = cache_registry.forking;

    transfer_unlock_all();
    for (struct cache *t = cache_registry.all; t; t = t->next)
        set_revoked(t, false);
    pthread_mutex_unlock(&cache_registry.lock);
    cache_self = self;
}

void cache_postfork_child(void)
{
    struct cache *self = cache_registry.forking;

    transfer_unlock_all();
    for (struct cache *t = cache_registry.all; t; t = t->next) {
        set_revoked(t, false);
        if (t == self || !t->attached)
            continue;
        // A cache whose owner could not be stopped may be half way through a list: what it holds
        // is lost to this child, as it would be to a thread that was killed there.
        if (cache_registry.can_revoke && !atomic_load_explicit(&t->busy, memory_order_relaxed)) {
            bins_empty(t);
            t->attached = false;
        }
    }
    atomic_store_explicit(&cache_registry.threads,
                          self != &cache_no_owner && self != &cache_departed, memory_order_relaxed);
    pthread_mutex_unlock(&cache_registry.lock);
    cache_self = self;
}

void cache_forget_threads(void)
{
    bool draining = pthread_mutex_trylock(&cache_registry.lock) != 0;

    cache_registry.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    transfer_forget_threads(draining);
    for (struct cache *t = cache_registry.all; t; t = t->next) {
        set_revoked(t, false);
        if (t == cache_self || !t->attached || draining ||
            atomic_load_explicit(&t->busy, memory_order_relaxed))
            continue;
        bins_empty(t);
        t->attached = false;
    }
    atomic_store_explicit(&cache_registry.threads,
                          cache_self != &cache_no_owner && cache_self != &cache_departed,
                          memory_order_relaxed);
}
