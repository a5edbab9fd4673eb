#include "pressure/promise.h"

#include <stdatomic.h>

#include "pressure/direct_reclaim.h"
#include "pressure/evaluate.h"
#include "pressure/stats_snapshot.h"
#include "shim/base.h"
#include "shim/clock.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

// How long a request waits for another thread that evaluates or reclaims, which may have lost its
// processor. With 50 ms 3 of 22 programs were refused memory that was free, beside a busy process.
#define OTHER_WAIT_MS 1000

bool promise_is_on;

static _Atomic uint64_t begun, granted;

// How far `begun` may go right after an evaluation. Less is granted where others may grow as well:
// eight processes that evaluate together do not take more than there is.
static _Atomic uint64_t seen;
#define SHARE 8

// And not for longer than this.
static _Atomic uint64_t granted_until_ms;
#define SHARED_MS 2

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

void promise_init(const struct pressure_options *o)
{
    promise_is_on = o->on_limit == PRESSURE_ON_LIMIT_ENOMEM;
    atomic_store(&begun, 0);
    atomic_store(&direct_kept, 0);
    // The first request evaluates.
    atomic_store(&granted, 0);
    atomic_store(&seen, 0);
}

// Not given to requests; twice where others may grow as well.
static uint64_t reserve_bytes(uint64_t limit, bool alone)
{
    uint64_t part = limit / 128;
    return (part < MIB ? MIB : part) << !alone;
}

// What memory.stat says of others is up to 2 s old; usage is not.
static bool is_shared(const struct pressure_sample *s)
{
    if (s->kind == PRESSURE_LIMIT_OPTION || s->kind == PRESSURE_LIMIT_RLIMIT)
        return false;
    return !s->alone || s->not_ours_bytes > s->limit_bytes / 8;
}

void promise_evaluated(const struct pressure_sample *s)
{
    uint64_t limit = pressure_near_limit(s);
    if (limit == PRESSURE_UNLIMITED) {
        atomic_store(&granted, UINT64_MAX);
        atomic_store(&seen, UINT64_MAX);
        atomic_store(&granted_until_ms, UINT64_MAX);
        return;
    }
    // A reserve that suits a big machine must leave a small container something, as with the
    // levels.
    uint64_t headroom = evaluate_options()->headroom_bytes;
    bool shared = is_shared(s);
    uint64_t unused = reserve_bytes(limit, !shared) + (headroom < limit / 4 ? headroom : limit / 4);
    uint64_t room = s->headroom_bytes > unused ? s->headroom_bytes - unused : 0;
    atomic_store(&seen, s->kept_bytes + room);
    atomic_store(&granted, s->kept_bytes + (shared ? room / SHARE : room));
    atomic_store(&granted_until_ms, shared ? clock_now_ms() + SHARED_MS : UINT64_MAX);
}

static bool try_begin(size_t bytes, const _Atomic uint64_t *limit)
{
    uint64_t was = load(&begun);
    do
        if (bytes > load(limit) - was || was > load(limit))
            return false;
    while (!atomic_compare_exchange_weak(&begun, &was, was + bytes));
    return true;
}

// By how much the limit is too small for them.
static uint64_t missing_bytes(size_t bytes)
{
    uint64_t end = load(&begun) + bytes, most = load(&seen);
    return end > most ? end - most : 0;
}

static bool evaluate_and_begin(size_t bytes)
{
    // Where another thread evaluates for all that time, its numbers do.
    evaluate_run(PRESSURE_CAUSE_ASSIST, bytes, OTHER_WAIT_MS);
    return try_begin(bytes, &seen);
}

// As much as is missing, and some for the requests to come: each reclaim costs as much as several
// evaluations. What another thread gives back just now is no longer held, and may still be used.
static bool reclaim_and_begin(size_t bytes)
{
    const struct pressure_hooks *h = evaluate_hooks();
    uint64_t held = h->held ? h->held() : 0, missing = missing_bytes(bytes);
    if (held < 64 * KIB || held < missing)
        return evaluate_await_reclaim(OTHER_WAIT_MS) && evaluate_and_begin(bytes);
    uint64_t much = missing + missing / 2 + 2 * MIB;
    pressure_reclaim(held > much ? held - much : 0, PRESSURE_CAUSE_ASSIST);
    return evaluate_and_begin(bytes);
}

bool promise_begin(size_t bytes)
{
    uint64_t until = load(&granted_until_ms);
    if ((until == UINT64_MAX || clock_now_ms() < until) && try_begin(bytes, &granted))
        return true;
    bool fits = pressure_may_fit(bytes);
    if (fits && (evaluate_and_begin(bytes) || reclaim_and_begin(bytes)))
        return true;
    if (bytes >= evaluate_options()->on_limit_min_bytes) {
        snapshot_refused();
        return false;
    }
    atomic_fetch_add(&begun, bytes);
    return true;
}

bool promise_may_begin(size_t bytes)
{
    if (!promise_begin(bytes))
        return false;
    atomic_fetch_sub(&begun, bytes);
    return true;
}

void promise_keep(size_t bytes)
{
    atomic_fetch_add(&direct_kept, bytes);
}

bool promise_holds(void)
{
    if (load(&granted) < load(&seen))
        evaluate_run(PRESSURE_CAUSE_ASSIST, 0, OTHER_WAIT_MS);
    else
        pressure_ask(0);
    // The reserve may be used up half before it counts.
    uint64_t most = load(&seen);
    return load(&begun) <= most || load(&begun) - most <= MIB / 2;
}

void promise_note(size_t bytes)
{
    atomic_fetch_add_explicit(&begun, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&direct_kept, bytes, memory_order_relaxed);
}
