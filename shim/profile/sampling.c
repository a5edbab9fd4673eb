#include "shim/profile/sampling.h"

#include <errno.h>
#include <stdatomic.h>

#include "export/heap/sites.h"
#include "pool/common/je.h"
#include "pool/common/sampler.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/pool.h"
#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "shim/base/log.h"
#include "shim/jemalloc/fallback.h"
#include "shim/jemalloc/guarded.h"
#include "shim/lowmem/promised.h"
#include "shim/lowmem/resize.h"
#include "shim/profile/backtrace.h"
#include "shim/profile/script.h"

static _Atomic uint64_t dropped;

// The watchdog's thread loads libunwind and answers `tidepool dump`: it is worth having once
// something was sampled.
static _Atomic bool thread_wanted;

// This thread is taking a sample: what it allocates meanwhile is not sampled.
static _Thread_local volatile bool taking;

static uint32_t this_stack(void)
{
    uintptr_t frame[SITES_DEPTH_MAX];
    unsigned depth = script_capture(frame, SITES_DEPTH_MAX);

    if (!depth)
        depth = callsite_capture(frame, SITES_DEPTH_MAX);
    return sites_stack(frame, depth);
}

// Notes the call stack of a block or a run, and the size asked for. False, and one more dropped,
// where there is none, or no room for that.
static bool remember(void *ptr, size_t asked, double probability)
{
    uint32_t stack, record = 0;
    int saved = errno;

    if (ptr && !taking) {
        taking = true;
        atomic_signal_fence(memory_order_seq_cst);
        stack = this_stack();
        record = stack ? sites_add(stack, asked, probability) : 0;
        atomic_signal_fence(memory_order_seq_cst);
        taking = false;
    }
    if (record)
        region_set_note(ptr, record);
    else
        atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
    if (unlikely(!atomic_load_explicit(&thread_wanted, memory_order_relaxed))) {
        atomic_store_explicit(&thread_wanted, true, memory_order_relaxed);
        watchdog_thread_want_later();
    }
    errno = saved;
    return record;
}

static void *run(size_t alignment, size_t size, size_t asked, bool zero, double probability)
{
    void *ptr = pool_run_new(size, alignment, zero);

    if (remember(ptr, asked, probability))
        return ptr;
    if (ptr)
        region_run_delete(ptr);
    return NULL;
}

// Like run(), where the caller has not asked the watchdog, as every request that takes pages
// does. The caller asks again for one that it refuses.
static void *ask_and_run(size_t alignment, size_t size, size_t asked, bool zero, double probability)
{
    bool entered = pool_entered();
    int saved = errno;
    void *ptr = NULL;

    struct promised p = promised_begin(size);
    if (!entered)
        pressure_ask(size);
    if (!p.refused)
        ptr = run(alignment, size, asked, zero, probability);
    if (!promised_end(p, ptr, 0, size)) {
        pool_put_slow(ptr);
        sampling_free(ptr);
        ptr = NULL;
    }
    if (!entered)
        watchdog_thread_poke();
    errno = saved;
    return ptr;
}

void *sampling_try(size_t alignment, size_t size, bool zero)
{
    uint64_t interval;

    if (!sampler_counts(size, &interval))
        return NULL;
    // For what is larger than the pools serve the callers have asked.
    return (size > SIZE_CLASS_MAX_BYTES ? run : ask_and_run)(alignment, size, size, zero,
                                                             sampler_probability(size, interval));
}

bool sampling_due(size_t size, double *probability)
{
    uint64_t interval;
    size_t trial;

    if (!pool_sample(size, &trial, &interval))
        return false;
    *probability = sampler_probability(trial, interval);
    return true;
}

void sampling_mark(void *ptr, size_t asked, double probability)
{
    // jemalloc may have had to serve it.
    if (remember(pool_owns(ptr) ? ptr : NULL, asked, probability))
        region_mark_sampled(ptr);
}

void *sampling_run(size_t size, size_t asked, bool zero, double probability)
{
    return ask_and_run(1, size, asked, zero, probability);
}

// Small requests are counted by jemalloc, and not once more: a thread's go straight to it until
// less than a request is left before the thread's next hit. The pointer is of the thread, and the
// one in heap.h, which leads to it, of the process: so it costs nothing where sampling is off.
#define NEAR_BYTES SIZE_CLASS_MIN_BYTES

// Where in a thread's storage jemalloc counts the bytes that it gave to the thread.
static ptrdiff_t count_at;

static uint64_t count_of_thread(void)
{
    return *(const uint64_t *)(const void *)((const char *)__builtin_thread_pointer() + count_at);
}

static __attribute__((noinline)) void *small_slow(size_t size, uint64_t from)
{
    uint64_t interval;
    void *ptr = NULL;

    if (sampler_reached(from, size, &interval))
        ptr = sampling_run(size, size, false, sampler_probability(size, interval));
    return ptr ? ptr : guarded_malloc(size);
}

static void *near_hit(size_t size)
{
    uint64_t from = count_of_thread();

    return unlikely(sampler_reaches(from, size)) ? small_slow(size, from) : guarded_malloc(size);
}

static _Thread_local bool far __attribute__((tls_model("initial-exec")));

static void *small(size_t size)
{
    return likely(far) ? guarded_malloc(size) : near_hit(size);
}

static uint64_t on_count(uint64_t allocated_bytes)
{
    bool near = sampler_reaches(allocated_bytes, NEAR_BYTES);

    far = !near;
    return near ? UINT64_MAX : sampler_self.hit - NEAR_BYTES;
}

static bool find_count(void)
{
    const char *at;
    size_t len = sizeof at;

    if (guarded_mallctl("thread.allocatedp", &at, &len, NULL, 0))
        return false;
    count_at = at - (const char *)__builtin_thread_pointer();
    return true;
}

static void *small_zeroed(size_t count, size_t size)
{
    void *ptr = sampling_try(1, count * size, true);

    return ptr ? ptr : guarded_calloc(count, size);
}

// A block that stays where it is is no new request.
static void *resized(void *old, size_t size)
{
    size_t have = guarded_usable_size(old);
    bool tight = resize_is_tight(have, size);
    void *ptr = NULL;

    if (size && je_nallocx(size, 0) != have)
        ptr = sampling_try(1, size, false);
    if (!ptr)
        return tight ? resize_tight(old, have, size) : guarded_realloc(old, size);
    if (tight)
        resize_copy(ptr, old, have);
    else
        __builtin_memcpy(ptr, old, have < size ? have : size);
    guarded_free(old);
    return ptr;
}

void sampling_start(const struct config *config)
{
    if (!config->sample_bytes)
        return;
    if (!region_bytes()) {
        log_line(LOG_FEATURE, "sampling is off: it needs the pools");
        return;
    }
    if (!find_count()) {
        log_line(LOG_FEATURE, "sampling is off: jemalloc does not count");
        return;
    }
    callsite_init(config->sample_unwind);
    sampler_interval_bytes = config->sample_bytes;
    pages_on_count = on_count;
    heap_small = small;
    heap_small_zeroed = small_zeroed;
    heap_resized = resized;
}

void sampling_begin(void)
{
    if (sampler_is_on() && !callsite_load())
        log_line(LOG_FEATURE,
                 "libunwind.so.8 is missing: stacks are walked by the built-in walker");
}

void sampling_free(void *ptr)
{
    uint32_t record = region_has_notes() ? region_note(ptr) : 0;

    // Without one it has marked pages, and is not to be kept on a list.
    if (record)
        region_set_note(ptr, sites_remove(record));
    pool_put_sampled(ptr);
}

const uintptr_t *sampling_allocated_at(const void *ptr, unsigned *depth)
{
    struct site site = {0};

    // Nothing else has begun there since.
    if (!region_is_live(ptr) && !region_is_sampled(ptr))
        site = sites_at(region_note(ptr));
    *depth = site.depth;
    return site.frame;
}

void sampling_stats(struct sampling_stats *out)
{
    struct sites_stats s;

    *out = (struct sampling_stats){0};
    if (!sampler_is_on())
        return;
    sites_stats(&s);
    *out = (struct sampling_stats){
        .interval_bytes = sampler_interval_bytes,
        .samples = s.samples,
        .dropped = atomic_load_explicit(&dropped, memory_order_relaxed),
        .live = s.live,
        .stacks = s.stacks,
        .live_bytes = s.live_bytes,
        .table_bytes = s.table_bytes,
    };
}

void sampling_child(void)
{
    sampler_child();
    taking = false;
    atomic_store_explicit(&thread_wanted, false, memory_order_relaxed);
}
