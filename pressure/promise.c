#include "pressure/promise.h"

#include <stdatomic.h>

#include "pressure/assist.h"
#include "pressure/board.h"
#include "pressure/watch.h"
#include "shim/base.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

// How long a request waits for the look of another thread.
#define LOOK_WAIT_MS 50

bool promise_is_on;

static _Atomic uint64_t begun, kept, granted;

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

void promise_init(const struct pressure_options *o)
{
    promise_is_on = o->on_limit == PRESSURE_ON_LIMIT_ENOMEM;
    atomic_store(&begun, 0);
    atomic_store(&kept, 0);
    // The first request looks.
    atomic_store(&granted, 0);
}

// Not given to requests.
static uint64_t reserve_bytes(uint64_t limit)
{
    uint64_t part = limit / 128;
    return part < MIB ? MIB : part;
}

uint64_t promise_kept(void)
{
    return atomic_load(&kept);
}

void promise_looked(uint64_t kept_bytes, const struct pressure_sample *s)
{
    uint64_t limit = pressure_near_limit(s);
    if (limit == PRESSURE_UNLIMITED) {
        atomic_store(&granted, UINT64_MAX);
        return;
    }
    // As with the levels: what is meant for a big machine must leave a small container something.
    uint64_t headroom = watch_options()->headroom_bytes;
    uint64_t unused = reserve_bytes(limit) + (headroom < limit / 4 ? headroom : limit / 4);
    uint64_t room = s->headroom_bytes > unused ? s->headroom_bytes - unused : 0;
    atomic_store(&granted, kept_bytes + room);
}

static bool try_begin(size_t bytes)
{
    uint64_t was = load(&begun);
    do
        if (bytes > load(&granted) - was || was > load(&granted))
            return false;
    while (!atomic_compare_exchange_weak(&begun, &was, was + bytes));
    return true;
}

// By how much the limit is too small for them.
static uint64_t missing_bytes(size_t bytes)
{
    uint64_t end = load(&begun) + bytes, most = load(&granted);
    return end > most ? end - most : 0;
}

static bool look_and_begin(size_t bytes)
{
    // Where another thread looks for all that time, its numbers do.
    watch_look(PRESSURE_CAUSE_ASSIST, bytes, LOOK_WAIT_MS);
    return try_begin(bytes);
}

// As much as is missing, and some for the requests to come: each reclaim costs as much as several
// looks.
static bool reclaim_and_begin(size_t bytes)
{
    const struct pressure_hooks *h = watch_hooks();
    uint64_t held = h->held ? h->held(h->arg) : 0, missing = missing_bytes(bytes);
    if (held < 64 * KIB || held < missing)
        return false;
    uint64_t much = missing + missing / 2 + 2 * MIB;
    pressure_reclaim(held > much ? held - much : 0, PRESSURE_CAUSE_ASSIST);
    return look_and_begin(bytes);
}

bool promise_begin(size_t bytes)
{
    if (try_begin(bytes))
        return true;
    bool fits = pressure_may_fit(bytes);
    if (fits && (look_and_begin(bytes) || reclaim_and_begin(bytes)))
        return true;
    if (bytes >= watch_options()->on_limit_min_bytes) {
        board_refused();
        return false;
    }
    atomic_fetch_add(&begun, bytes);
    return true;
}

void promise_keep(size_t bytes)
{
    atomic_fetch_add(&kept, bytes);
}

bool promise_holds(void)
{
    pressure_ask(0);
    // The reserve may be used up half before it counts.
    uint64_t most = load(&granted);
    return load(&begun) <= most || load(&begun) - most <= reserve_bytes(0) / 2;
}

void promise_note(size_t bytes)
{
    atomic_fetch_add_explicit(&begun, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&kept, bytes, memory_order_relaxed);
}
