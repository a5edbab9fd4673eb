#include "pressure/evaluate.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pressure/direct_reclaim.h"
#include "pressure/kernel/futex_lock.h"
#include "pressure/promise.h"
#include "pressure/stats_snapshot.h"
#include "pressure/triggers/psi.h"
#include "pressure/usage/sample.h"
#include "shim/base.h"
#include "shim/clock.h"

// How long a thread that grows waits for another's reclaim: about what giving back 200 MB takes on
// a busy machine.
#define WAIT_FOR_OTHER_MS 100
// For what on_critical writes, by a thread that may be off its processor.
#define WAIT_FOR_WORD_MS 1000
// A sample takes some 50 us. One that took this long is no longer true.
#define OLD_US 1000
// And for neighbours in the cgroup to give back theirs, once a second, at the very end. A neighbour
// that has much to give evaluates every 25 ms.
#define NAPS 60

// Held while sampling and stepping, for some 50 us. Growing threads try it, and wait for a while
// only where room is short (wait_ms of evaluate_run).
static struct futex_lock evaluation_lock;
// Held while reclaiming, or telling. Waits for it are short; a thread that only wants the result
// waits for the futex_bell.
static struct futex_lock act_lock;
static struct futex_bell acted;

// All under evaluation_lock.
static struct {
    struct pressure_state state;
    struct sample_source source;
    uint64_t held_guess, held_grown, held_shrunk;
    enum pressure_level reported;
    bool was_urgent, was_tight; // at the last evaluation
} w;

// Processor time of our own thread: its evaluations and reclaims are no work of the program's.
// Under evaluation_lock.
static uint64_t thread_cpu_us;

static const struct pressure_options *options;
static const struct pressure_hooks *hooks;
static _Atomic uint64_t cgroup_limit;
static _Atomic unsigned next_evaluation_ms;
static _Atomic bool evaluated, decay_fast, telling; // telling: on_critical is at work
static _Atomic bool decay_applied;                  // written under act_lock

// This thread is in an evaluation: what its hooks or a signal handler allocate leads to no other.
static _Atomic bool forbidden;
static _Thread_local bool busy;

static void end_act(void)
{
    futex_lock_drop(&act_lock);
    futex_bell_ring(&acted);
}

void evaluate_init(const struct pressure_options *o, const struct pressure_hooks *h)
{
    hooks = h;
    sample_init(&w.source, o);
    if (o->evaluates)
        direct_init(o);
    options = o;
}

const struct pressure_options *evaluate_options(void)
{
    return options;
}

const struct pressure_hooks *evaluate_hooks(void)
{
    return hooks;
}

void evaluate_forbid(void)
{
    atomic_store_explicit(&forbidden, true, memory_order_relaxed);
}

bool evaluate_done(void)
{
    return atomic_load_explicit(&evaluated, memory_order_relaxed);
}

bool evaluate_hoards(void)
{
    uint64_t room = atomic_load_explicit(&direct_view.headroom_bytes, memory_order_relaxed);
    return hooks->held && room != PRESSURE_UNLIMITED && hooks->held(hooks->arg) >= room / 4 + 1;
}

unsigned evaluate_next_ms(void)
{
    return atomic_load_explicit(&next_evaluation_ms, memory_order_relaxed);
}

// Without a hook that knows: what went back to the page level and was not taken again since.
static uint64_t guess_held(const struct pressure_sample *s)
{
    uint64_t in = s->shrunk_bytes - w.held_shrunk, out = s->grown_bytes - w.held_grown;
    w.held_shrunk = s->shrunk_bytes;
    w.held_grown = s->grown_bytes;
    w.held_guess = w.held_guess + in > out ? w.held_guess + in - out : 0;
    return w.held_guess;
}

// Usage, and the counts as of then. A thread that loses its processor half way has old numbers
// afterwards, and reads them again: it has a whole time slice now.
static void sample_usage(struct pressure_sample *s, uint64_t now)
{
    for (int i = 0; i < 3; i++) {
        uint64_t start = clock_us(CLOCK_MONOTONIC);
        // The counts first: what is counted before usage is read shows in usage, or is still to
        // come; the other way round it might show in neither.
        uint64_t grown = atomic_load_explicit(&direct_grown.total, memory_order_relaxed);
        uint64_t shrunk = atomic_load_explicit(&direct_shrunk.total, memory_order_relaxed);
        uint64_t kept = promise_kept();
        uint64_t returned = hooks->returned ? hooks->returned(hooks->arg) : 0;
        sample_take(&w.source, options, now, s);
        s->grown_bytes = grown;
        s->shrunk_bytes = shrunk;
        s->returned_bytes = returned;
        s->kept_bytes = kept;
        if (clock_us(CLOCK_MONOTONIC) - start < OLD_US)
            break;
    }
}

// Under evaluation_lock.
static void sample(struct pressure_sample *s, size_t pending, uint64_t now)
{
    uint64_t start = clock_us(CLOCK_MONOTONIC);
    sample_usage(s, now);
    // What no limit has room for fails, or is address space only: nothing to prepare for.
    s->pending_bytes = pending < pressure_near_limit(s) ? pending : 0;
    s->cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID) - thread_cpu_us;
    atomic_store_explicit(&cgroup_limit,
                          w.source.cgroup.binding_len ? w.source.cgroup.bound_bytes : 0,
                          memory_order_relaxed);
    s->threads = hooks->threads ? hooks->threads(hooks->arg) : 1;
    s->held_bytes = hooks->held ? hooks->held(hooks->arg) : guess_held(s);
    snapshot_stats()->sample_us = clock_us(CLOCK_MONOTONIC) - start;
}

// Under act_lock. The decay that evaluations agreed on last, however many there were meanwhile.
static void apply_decay(void)
{
    bool want = atomic_load_explicit(&decay_fast, memory_order_relaxed);
    if (want == decay_applied || !hooks->set_decay)
        return;
    decay_applied = want;
    hooks->set_decay(hooks->arg, want);
}

// Under act_lock, which is free afterwards: others need not wait until this thread has its
// processor and the evaluation's lock again. What it came to is told to the step, and counted.
static size_t reclaim(struct pressure_reclaim *r)
{
    uint64_t keep = r->keep_bytes;
    enum pressure_cause cause = r->cause;
    size_t freed = 0;
    uint64_t start = clock_us(CLOCK_MONOTONIC), us;

    if (hooks->reclaim)
        freed = hooks->reclaim(hooks->arg, keep, cause);
    us = clock_us(CLOCK_MONOTONIC) - start;
    apply_decay();
    end_act();
    if (hooks->reclaim && futex_lock_take(&evaluation_lock, 100)) {
        w.held_guess = 0;
        snapshot_count_reclaim(cause, freed, us, clock_us(CLOCK_REALTIME) / 1000);
        // What the kernel got is in its own numbers; others may have grown meanwhile.
        struct pressure_sample after;
        uint64_t now = clock_now_ms();
        sample(&after, 0, now);
        pressure_reclaimed(&w.state, &after, freed, us, now);
        snapshot_publish();
        futex_lock_drop(&evaluation_lock);
        r->used_after_bytes = after.used_bytes;
    }
    r->freed_bytes = freed;
    r->took_us = us;
    if (hooks->reclaimed)
        hooks->reclaimed(hooks->arg, r);
    return freed;
}

// Nothing of ours is left and the end is near: idle neighbours under this limit get a moment to see
// it too. Their own watchdogs evaluate every few milliseconds by now.
static void nap_for_neighbours(const struct pressure_sample *before)
{
    struct pressure_sample s = *before;
    for (int i = 0;
         i < NAPS && s.headroom_bytes < before->headroom_bytes + pressure_near_limit(before) / 64;
         i++) {
        clock_nap_us(1000);
        if (!futex_lock_take(&evaluation_lock, 1))
            continue;
        uint64_t now = clock_now_ms();
        sample(&s, before->pending_bytes, now);
        w.state.nap_ms = now;
        futex_lock_drop(&evaluation_lock);
    }
}

// What it writes has to be there before the end comes, so a thread that evaluates does not grow
// meanwhile.
static void tell_critical(void)
{
    bool locked = futex_lock_take(&act_lock, WAIT_FOR_OTHER_MS);
    atomic_store_explicit(&telling, true, memory_order_relaxed);
    hooks->on_critical(hooks->arg);
    atomic_store_explicit(&telling, false, memory_order_relaxed);
    if (locked)
        end_act();
}

static void act(enum pressure_cause cause, const struct pressure_action *a,
                const struct pressure_sample *s)
{
    bool decay = atomic_load_explicit(&decay_fast, memory_order_relaxed) != decay_applied;
    bool told = atomic_load_explicit(&telling, memory_order_relaxed);
    bool wait = a->reclaim || told;
    if (!wait && !decay)
        return;
    bool grower = cause == PRESSURE_CAUSE_ASSIST;
    uint32_t seen = futex_bell_read(&acted);
    if (!futex_lock_try(&act_lock)) {
        // Another is giving back already. Going on growing meanwhile is what kills.
        if (wait && grower)
            futex_bell_wait(&acted, seen, told ? WAIT_FOR_WORD_MS : WAIT_FOR_OTHER_MS);
        return;
    }
    size_t freed = 0;
    apply_decay();
    if (a->reclaim)
        freed = reclaim(&(struct pressure_reclaim){.cause = cause,
                                                   .why = a->why,
                                                   .level = a->level,
                                                   .keep_bytes = a->keep_bytes,
                                                   .used_bytes = s->used_bytes,
                                                   .held_bytes = s->held_bytes,
                                                   .limit_bytes = s->limit_bytes});
    else
        end_act();
    if (a->reclaim && a->may_nap && grower && freed < pressure_near_limit(s) / 128)
        nap_for_neighbours(s);
}

// Without any limit memory is never short. Said once, and not again in a child: a server's workers
// are many.
static void say_blind(const struct pressure_sample *s)
{
    static _Atomic bool said;

    if (s->limit_bytes == PRESSURE_UNLIMITED && hooks->log && !atomic_exchange(&said, true))
        hooks->log(hooks->arg, PRESSURE_LOG_SOURCE,
                   "memory is not watched: neither a cgroup nor /proc/meminfo can be read");
}

bool evaluate_run(enum pressure_cause cause, size_t pending, unsigned wait_ms)
{
    if (busy || !options || atomic_load_explicit(&forbidden, memory_order_relaxed))
        return false;
    int saved = errno;
    busy = true;
    bool locked =
        wait_ms ? futex_lock_take(&evaluation_lock, wait_ms) : futex_lock_try(&evaluation_lock);
    if (locked) {
        uint64_t now = clock_now_ms();
        struct pressure_sample s;
        if (cause == PRESSURE_CAUSE_WATCHDOG)
            thread_cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
        sample(&s, pending, now);
        struct pressure_action a = pressure_step(options, &w.state, &s, now);
        bool turned_urgent = a.urgent && !w.was_urgent;
        w.was_urgent = a.urgent;
        struct pressure_stats *stats = snapshot_stats();
        stats->evaluations++;
        stats->direct_evaluations += cause == PRESSURE_CAUSE_ASSIST;
        if (a.keep_bytes != stats->keep_bytes ||
            pressure_near_limit(&s) != pressure_near_limit(&stats->sample) || !evaluate_done()) {
            stats->keep_bytes = a.keep_bytes;
            if (hooks->set_keep)
                hooks->set_keep(hooks->arg, a.keep_bytes, pressure_near_limit(&s));
        }
        if (a.tight != w.was_tight && hooks->set_tight)
            hooks->set_tight(hooks->arg, a.tight);
        w.was_tight = a.tight;
        atomic_store_explicit(&decay_fast, a.decay_fast, memory_order_relaxed);
        stats->decay_fast = a.decay_fast;
        atomic_store_explicit(&next_evaluation_ms, a.next_evaluation_ms, memory_order_relaxed);
        direct_evaluated(&a, &s);
        atomic_store_explicit(&evaluated, true, memory_order_relaxed);
        snapshot_post(&w.state, &s);
        futex_lock_drop(&evaluation_lock);
        say_blind(&s);
        if (hooks->evaluated)
            hooks->evaluated(hooks->arg, cause, &a, &s);
        if (turned_urgent && hooks->on_critical)
            tell_critical();
        act(cause, &a, &s);
    }
    busy = false;
    errno = saved;
    return locked;
}

size_t pressure_reclaim(uint64_t keep, enum pressure_cause cause)
{
    if (busy || !options)
        return 0;
    int saved = errno;
    size_t freed = 0;
    busy = true;
    if (futex_lock_take(&act_lock, 2000)) {
        struct pressure_stats now;
        pressure_stats(&now);
        freed = reclaim(&(struct pressure_reclaim){.cause = cause,
                                                   .why = PRESSURE_REASON_ASKED,
                                                   .level = now.level,
                                                   .keep_bytes = keep,
                                                   .used_bytes = now.sample.used_bytes,
                                                   .held_bytes = now.sample.held_bytes,
                                                   .limit_bytes = now.sample.limit_bytes});
    }
    busy = false;
    errno = saved;
    return freed;
}

bool evaluate_level_changed(enum pressure_level *from, enum pressure_level *to,
                            struct pressure_sample *s)
{
    if (!futex_lock_take(&evaluation_lock, 1000))
        return false;
    bool changed = w.state.level != w.reported;
    *from = w.reported;
    *to = w.reported = w.state.level;
    *s = snapshot_stats()->sample;
    futex_lock_drop(&evaluation_lock);
    return changed;
}

void evaluate_child(void)
{
    // Only the thread that forked is left. The holders of these locks do not exist here.
    futex_lock_reset(&evaluation_lock);
    futex_lock_reset(&act_lock);
    atomic_store_explicit(&telling, false, memory_order_relaxed);
    busy = false;
    if (!options)
        return;
    memset(&w.state, 0, sizeof w.state);
    w.held_guess = w.held_grown = w.held_shrunk = 0;
    thread_cpu_us = 0;
    w.reported = PRESSURE_NORMAL;
    w.was_urgent = w.was_tight = false;
    sample_init(&w.source, options);
    if (options->evaluates)
        direct_init(options);
    atomic_store_explicit(&evaluated, false, memory_order_relaxed);
    atomic_store_explicit(&decay_fast, false, memory_order_relaxed);
    snapshot_clear();
    // The ceiling in the heap is a copy of the parent's, and a child that never grows enough for an
    // evaluation would keep it for good.
    if (hooks->set_keep)
        hooks->set_keep(hooks->arg, PRESSURE_UNLIMITED, PRESSURE_UNLIMITED);
    if (hooks->set_tight)
        hooks->set_tight(hooks->arg, false);
}

uint64_t evaluate_limit_bytes(void)
{
    return atomic_load_explicit(&cgroup_limit, memory_order_relaxed);
}

bool evaluate_place(struct psi_place *p)
{
    memset(p, 0, sizeof *p);
    if (!futex_lock_take(&evaluation_lock, 1000))
        return false;
    const struct cgroup_source *c = &w.source.cgroup;
    if (c->found) {
        p->v2 = c->at.v2;
        p->memory = c->at.memory;
        p->unified = c->at.unified;
        p->binding_len = c->binding_len;
    }
    p->limit_bytes = evaluate_limit_bytes();
    futex_lock_drop(&evaluation_lock);
    for (int i = 0; i < 3; i++)
        p->watermark[i] = pressure_watermark(options, PRESSURE_MODERATE + i, p->limit_bytes);
    return true;
}
