#include "shim/glue/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "export/control.h"
#include "pool/common/guard.h"
#include "pool/common/quota.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/jemalloc_private/tcache.h"
#include "pool/pool.h"
#include "pool/region/holes.h"
#include "pressure/direct_reclaim.h"
#include "pressure/stats_snapshot.h"
#include "pressure/watchdog_thread.h"
#include "shim/base/env_copy.h"
#include "shim/base/log.h"
#include "shim/clock.h"
#include "shim/glue/mapped_files.h"
#include "shim/glue/prometheus.h"
#include "shim/glue/verbose.h"
#include "shim/jemalloc/guarded.h"
#include "shim/lowmem/extent_tuning.h"
#include "shim/lowmem/low_memory.h"
#include "shim/lowmem/promised.h"
#include "shim/lowmem/reclaim.h"
#include "shim/own_thread/confine.h"
#include "shim/own_thread/raw_fork.h"
#include "shim/profile/dump.h"
#include "shim/profile/sampling.h"

// A block that lies still for two of these goes to the transfer cache, and from there to jemalloc
// after one more: within 10 s an idle process has given up what it keeps, and a pause of 3 s costs
// nothing.
#define AGE_MS 3000

// The least that is worth a look at all slabs, and the part of the limit below which little is
// left.
#define HOLES_MIN_BYTES ((uint64_t)1 << 20)
#define HOLES_PART 128

static struct {
    bool on, control;
    uint64_t pool_max_bytes;
    bool pool_max_is_automatic;
    uint64_t aged_ms; // by the thread only
    _Atomic uint64_t limit_bytes;
    struct pressure_options options;
} dog;

// Holes of the program's present sizes are filled again soon, for a fault each. So a thread that
// waits gives back a few at a time, the watchdog's thread all.
static uint64_t holes_to_purge(enum pressure_cause cause)
{
    // A promise covers whole blocks.
    if (promise_is_on)
        return 0;
    if (cause != PRESSURE_CAUSE_ASSIST)
        return UINT64_MAX;
    uint64_t part = atomic_load_explicit(&dog.limit_bytes, memory_order_relaxed) / HOLES_PART;
    return part > HOLES_MIN_BYTES ? part : HOLES_MIN_BYTES;
}

static size_t on_reclaim(uint64_t keep_bytes, enum pressure_cause cause)
{
    return reclaim_pages(keep_bytes, holes_to_purge(cause));
}

static void set_keep(uint64_t keep_bytes, uint64_t limit_bytes)
{
    uint64_t max = dog.pool_max_bytes;

    atomic_store_explicit(&dog.limit_bytes, limit_bytes, memory_order_relaxed);
    oversize_set_short(keep_bytes != PRESSURE_UNLIMITED);
    if (limit_bytes != PRESSURE_UNLIMITED)
        oversize_set_limit(limit_bytes);
    low_memory_set_limit(limit_bytes);
    // An eighth of the limit: see automatic_max_bytes() in init.c.
    // While memory is short the level's own ceiling is the better one.
    if (dog.pool_max_is_automatic && keep_bytes == PRESSURE_UNLIMITED && limit_bytes / 8 < max)
        max = limit_bytes / 8;
    quota_set_max(keep_bytes < max ? keep_bytes : max);
}

static void set_tight(bool tight)
{
    // A promise covers whole blocks.
    pool_set_frugal(tight && !promise_is_on);
}

static uint64_t returned(void)
{
    return pages_returned() + holes_purged();
}

static void relieve_files(void)
{
    struct pressure_stats s;
    uint64_t high;

    pressure_stats(&s);
    high = pressure_watermark(&dog.options, PRESSURE_HIGH, s.sample.limit_bytes);
    files_tick(s.level, s.sample.used_bytes > high ? s.sample.used_bytes - high : 0);
}

// A level that ends is told by the limit that it began with, as long as there is one.
static void on_level(enum pressure_level from, enum pressure_level to,
                     const struct pressure_sample *s)
{
    static enum pressure_limit_kind kind; // by the thread only

    if (to > from || !s->of[kind].limit_bytes)
        kind = s->kind;
    if (kind == PRESSURE_LIMIT_NONE)
        log_line(LOG_PRESSURE, "memory pressure %s, was %s: there is no limit any more",
                 pressure_level_name(to), pressure_level_name(from));
    else
        log_line(LOG_PRESSURE, "memory pressure %s, was %s: %lu of %lu MiB used (%s)",
                 pressure_level_name(to), pressure_level_name(from), s->of[kind].used_bytes >> 20,
                 s->of[kind].limit_bytes >> 20, pressure_limit_name(kind));
    verbose_level(&dog.options, to, s);
    relieve_files();
    exporter_level_changed();
}

static bool begin(void)
{
    tcache_never_self();
    // While the thread has its capabilities: without them mlockall(MCL_FUTURE) lets jemalloc map
    // nothing beyond RLIMIT_MEMLOCK, and it crashes where it gets no arena for a thread.
    guarded_attach();
    // libunwind keeps descriptors that it uses in all threads: it has to find them in the program's
    // table.
    sampling_begin();
    bool own = log_own_descriptors();
    // An earlier thread's, which is gone with its table.
    control_child();
    confine_self();
    return own;
}

static void tick(uint64_t now_ms)
{
    log_drop_copy();
    exporter_tick(now_ms);
    int err = dog.control ? control_tick(now_ms) : 0;
    if (err)
        log_line(LOG_INFO, "tools cannot reach this process: %s", strerrordesc_np(-err));
    relieve_files();
    if (!dog.on)
        return;
    // jemalloc's own decay goes by allocations; in an idle process only by this.
    guarded_mallctl("arena.4096.decay", NULL, NULL, NULL, 0);
    if (now_ms - dog.aged_ms < AGE_MS)
        return;
    dog.aged_ms = now_ms;
    pool_age();
}

static void log_for_pressure(enum pressure_log kind, const char *format, ...)
{
    char text[LOG_LINE_MAX];
    va_list args;

    va_start(args, format);
    log_vformat(text, sizeof text, format, args);
    va_end(args);
    log_line(kind == PRESSURE_LOG_FOUND ? LOG_INFO : LOG_FEATURE, "%s", text);
}

static struct pressure_hooks hooks = {
    .reclaim = on_reclaim,
    .set_keep = set_keep,
    .set_tight = set_tight,
    .held = reclaim_held_bytes,
    .returned = returned,
    .threads = cache_threads,
    .on_level = on_level,
    .begin = begin,
    .tick = tick,
    .wait_on = control_wait_on,
    .serve = control_serve,
    .log = log_for_pressure,
};

// Without a watchdog: nothing but what is exported.
static const struct pressure_hooks only_tick = {.begin = begin,
                                                .tick = tick,
                                                .wait_on = control_wait_on,
                                                .serve = control_serve,
                                                .log = log_for_pressure};

static unsigned percent_of(double ratio)
{
    return (unsigned)(ratio * 100 + 0.5);
}

// What no limit has room for is address space first of all: an evaluation a second does for what a
// program may touch of it, however often it takes some and frees it.
#define VAST_MS 1000
static bool is_vast_again(size_t bytes)
{
    static _Atomic uint64_t next_ms;
    uint64_t now;

    if (likely(pressure_may_fit(bytes)))
        return false;
    now = clock_now_ms();
    if (now < atomic_load_explicit(&next_ms, memory_order_relaxed))
        return true;
    atomic_store_explicit(&next_ms, now + VAST_MS, memory_order_relaxed);
    return false;
}

static void count_pages(size_t bytes)
{
    if (is_vast_again(bytes))
        return;
    pressure_count(bytes);
    promised_note(bytes);
}

static void count_freed_pages(size_t bytes)
{
    if (!pressure_may_fit(bytes))
        return;
    pressure_count_free(bytes);
}

// A program of small objects passes nowhere else.
static bool after_refill(bool filled)
{
    if (pool_entered())
        return false;
    raw_fork_notice();
    if (!filled) {
        return dog.on && reclaim_for(SIZE_CLASS_MIN_BYTES);
    }
    low_memory_stock_up(false);
    pressure_ask(0);
    watchdog_thread_poke();
    return false;
}

// Under TIDEPOOL_ON_LIMIT=enomem, where sizes below a KiB are not to pass the limit either. Several
// refills' worth: a slab is at most 28 KiB.
#define REFILL_BYTES ((size_t)64 << 10)

// The list that is about to be refilled is empty, and jemalloc relies on that. So no signal handler
// may free a block into it meanwhile: where there are handlers, their thread is PASSING here.
static bool may_refill(void)
{
    bool has_handlers = guard_entered();
    sigset_t all, old;

    if (has_handlers) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
    }
    sig_atomic_t was = guard_step_out();
    bool may = pool_entered() || promise_may_begin(REFILL_BYTES);
    guard_step_in(was);
    if (has_handlers)
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    return may;
}

static bool on_refill(bool filled)
{
    sig_atomic_t was = guard_step_out();
    bool again = after_refill(filled);

    guard_step_in(was);
    return again;
}

void watchdog_init(const struct config *c, uint64_t pool_max_bytes)
{
    struct pressure_options *o = &dog.options;

    dog.pool_max_bytes = pool_max_bytes;
    dog.pool_max_is_automatic = c->pool_max_bytes == 0;
    *o = pressure_defaults;
    if (c->prom_dir && c->prom_interval_ms < o->tick_ms)
        o->tick_ms = c->prom_interval_ms;
    dog.control = c->control;
    if (!c->watchdog) {
        if (!c->prom_dir && !c->sample_bytes)
            return;
        o->evaluates = false;
        watchdog_thread_init(o, &only_tick);
        pages_on_refill = on_refill;
        return;
    }
    o->limit_bytes = c->limit_bytes;
    o->source = c->source == CONFIG_SOURCE_RSS      ? PRESSURE_USAGE_RSS
                : c->source == CONFIG_SOURCE_CGROUP ? PRESSURE_USAGE_CGROUP
                                                    : PRESSURE_USAGE_MAX;
    o->moderate_percent = percent_of(c->moderate_ratio);
    o->high_percent = percent_of(c->high_ratio);
    o->critical_percent = percent_of(c->critical_ratio);
    o->hysteresis_percent = percent_of(c->hysteresis_ratio);
    o->headroom_bytes = c->headroom_bytes;
    o->interval_ms = c->interval_ms;
    o->cooldown_ms = c->cooldown_ms;
    o->evaluate_min_bytes = c->evaluate_min_bytes;
    o->on_limit = c->on_limit_enomem ? PRESSURE_ON_LIMIT_ENOMEM : PRESSURE_ON_LIMIT_GROW;
    o->on_limit_min_bytes = c->on_limit_size_bytes;
    o->watch_path = keep_text(secure_getenv("MEMORY_PRESSURE_WATCH"));
    o->watch_write = keep_text(secure_getenv("MEMORY_PRESSURE_WRITE"));
    // Growing threads wait for it, so it is there only where there is something to tell.
    if (c->sample_bytes)
        hooks.on_critical = dump_in_need;
    if (c->verbose >= 2)
        hooks.reclaimed = verbose_reclaimed;
    if (c->verbose >= 3)
        hooks.evaluated = verbose_evaluated;
    watchdog_thread_init(o, &hooks);
    dog.on = true;
    if (promise_is_on && o->on_limit_min_bytes < SIZE_CLASS_MIN_BYTES)
        pages_may_refill = may_refill;
    pages_on_take = count_pages;
    holes_on_refill = count_pages;
    pages_on_free = count_freed_pages;
    pages_on_refill = on_refill;
}
