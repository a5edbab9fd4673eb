#include "pressure/evaluate.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "pressure/direct_view.h"
#include "pressure/kernel/futex_lock.h"
#include "pressure/stats_snapshot.h"
#include "pressure/triggers/psi.h"
#include "pressure/usage/sample.h"
#include "shim/base.h"
#include "shim/clock.h"

// How long a thread that grows waits for another's reclaim: about what giving back 200 MB takes on
// a busy machine.
#define WAIT_FOR_OTHER_MS 100
// For what on_critical writes, and for a reclaim where the next blocks may be the last: the other
// thread may be off its processor, or wait for locks of threads that are. With 12 threads for each
// processor 100 ms were too few in one run of a thousand.
#define WAIT_NEAR_END_MS 1000
// What each thread may have in hand and not have touched yet.
#define IN_HAND_BYTES ((uint64_t)2 << 20)
// Where the rest of the limit is with other processes: what their watchdogs take to get a processor
// and to give back 200 MB. In vain it is waited for once a second.
#define YIELD_TIMES 5
#define YIELD_MS 4
#define YIELD_AGAIN_MS 1000
// A sample takes some 50 us. One that took this long is no longer true.
#define OLD_US 1000
// The least free memory that is worth a reclaim before a fork.
#define FORK_MIN_BYTES ((uint64_t)1 << 20)

// Held while sampling and stepping, for some 50 us. Growing threads try it, and wait for a while
// only where room is short (wait_ms of evaluate_run).
static struct futex_lock evaluation_lock;
// Held while reclaiming, or telling. Waits for it are short; a thread that only wants the result
// waits for the futex_bell.
static struct futex_lock act_lock;
static struct futex_bell acted;
// What the bell read when a thread had waited for it WAIT_NEAR_END_MS in vain, and 1 on top. Its
// holder is stopped then, or as slow, and the next threads wait for less.
static _Atomic uint64_t silent;
// An emergency, at the last evaluation, with an eighth of the limit in other processes; and when
// that may be waited for again.
static _Atomic bool crowded;
static _Atomic uint64_t yield_at_ms;

// All under evaluation_lock.
static struct {
    struct pressure_state state;
    struct sample_source source;
    enum pressure_level reported;
    bool was_urgent, was_tight; // at the last evaluation
    bool sighted;               // usage could be read once
    bool is_child;              // of a fork
} w;

// Processor time of our own thread: its evaluations and reclaims are no work of the program's.
// Under evaluation_lock.
static uint64_t thread_cpu_us;

static const struct pressure_options *options;
static const struct pressure_hooks *hooks;
void (*evaluate_on_step)(const struct pressure_action *, const struct pressure_sample *);
static _Atomic unsigned next_evaluation_ms;
static _Atomic bool evaluated, telling; // telling: on_critical is at work

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

static bool evaluate_done(void)
{
    return atomic_load_explicit(&evaluated, memory_order_relaxed);
}

bool evaluate_hoards(void)
{
    uint64_t room = atomic_load_explicit(&direct_view.headroom_bytes, memory_order_relaxed);
    return hooks->held && room != PRESSURE_UNLIMITED && hooks->held() >= room / 4 + 1;
}

unsigned evaluate_next_ms(void)
{
    return atomic_load_explicit(&next_evaluation_ms, memory_order_relaxed);
}

// Usage, and the counts as of then. A thread that loses its processor half way has old numbers
// afterwards, and reads them again: it has a whole time slice now.
static bool sample_usage(struct pressure_sample *s, uint64_t now)
{
    bool taken = false;

    for (int i = 0; i < 3; i++) {
        uint64_t start = clock_us(CLOCK_MONOTONIC);
        // The counts first: what is counted before usage is read shows in usage, or is still to
        // come; the other way round it might show in neither.
        uint64_t grown = atomic_load_explicit(&direct_grown.total, memory_order_relaxed);
        uint64_t shrunk = atomic_load_explicit(&direct_shrunk.total, memory_order_relaxed);
        uint64_t kept = atomic_load(&direct_kept);
        uint64_t returned = hooks->returned ? hooks->returned() : 0;
        taken = sample_take(&w.source, options, now, s);
        s->grown_bytes = grown;
        s->shrunk_bytes = shrunk;
        s->returned_bytes = returned;
        s->kept_bytes = kept;
        if (clock_us(CLOCK_MONOTONIC) - start < OLD_US)
            break;
    }
    return taken;
}

// Free memory that this process did not take itself was its parent's at the fork.
static void note_shared(struct pressure_sample *s)
{
    bool more = w.is_child && s->held_bytes > s->grown_bytes;

    s->shared_bytes = more ? s->held_bytes - s->grown_bytes : 0;
}

static uint64_t moved(uint64_t from, uint64_t up, uint64_t down)
{
    return from + up > down ? from + up - down : 0;
}

// Where nothing can be read for want of a descriptor: the last sample, and what this process took
// and gave back since. The counts are those of now.
static void estimate(struct pressure_sample *s)
{
    struct pressure_sample e = snapshot_stats()->sample;
    uint64_t taken = s->grown_bytes - e.grown_bytes, given = s->shrunk_bytes - e.shrunk_bytes;

    e.raw_bytes = moved(e.raw_bytes, taken, given);
    e.used_bytes = e.of[e.kind].used_bytes = moved(e.used_bytes, taken, given);
    if (e.headroom_bytes != PRESSURE_UNLIMITED)
        e.headroom_bytes = moved(e.headroom_bytes, given, taken);
    e.grown_bytes = s->grown_bytes;
    e.shrunk_bytes = s->shrunk_bytes;
    e.returned_bytes = s->returned_bytes;
    e.kept_bytes = s->kept_bytes;
    *s = e;
}

// Under evaluation_lock.
static void sample(struct pressure_sample *s, size_t pending, uint64_t now)
{
    uint64_t start = clock_us(CLOCK_MONOTONIC);
    if (sample_usage(s, now))
        w.sighted = true;
    else if (w.sighted)
        estimate(s);
    // What no limit has room for fails, or is address space only: nothing to prepare for.
    s->pending_bytes = pending < pressure_near_limit(s) ? pending : 0;
    s->cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID) - thread_cpu_us;
    s->threads = hooks->threads ? hooks->threads() : 1;
    s->held_bytes = hooks->held ? hooks->held() : 0;
    note_shared(s);
    snapshot_stats()->sample_us = clock_us(CLOCK_MONOTONIC) - start;
}

static uint64_t faulted_bytes(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)u.ru_minflt * (uint64_t)sysconf(_SC_PAGESIZE);
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
        freed = hooks->reclaim(keep, cause);
    us = clock_us(CLOCK_MONOTONIC) - start;
    end_act();
    if (hooks->reclaim && futex_lock_take(&evaluation_lock, WAIT_NEAR_END_MS)) {
        snapshot_count_reclaim(cause, freed, us, clock_us(CLOCK_REALTIME) / 1000);
        // What the kernel got is in its own numbers; others may have grown meanwhile.
        struct pressure_sample after;
        uint64_t now = clock_now_ms();
        sample(&after, 0, now);
        after.faulted_bytes = faulted_bytes();
        pressure_reclaimed(&w.state, &after, freed, us, now);
        snapshot_publish();
        futex_lock_drop(&evaluation_lock);
        r->used_after_bytes = after.used_bytes;
    }
    r->freed_bytes = freed;
    r->took_us = us;
    if (hooks->reclaimed)
        hooks->reclaimed(r);
    return freed;
}

// What it writes has to be there before the end comes, so a thread that evaluates does not grow
// meanwhile.
static void tell_critical(void)
{
    bool locked = futex_lock_take(&act_lock, WAIT_FOR_OTHER_MS);
    atomic_store_explicit(&telling, true, memory_order_relaxed);
    hooks->on_critical();
    atomic_store_explicit(&telling, false, memory_order_relaxed);
    if (locked)
        end_act();
}

// Waits for the end of what another thread is at: its reclaim, or what it tells.
static void await_other(const struct pressure_action *a, const struct pressure_sample *s, bool told,
                        uint32_t seen)
{
    uint64_t in_hand = s->threads * IN_HAND_BYTES, limit = pressure_near_limit(s);
    bool near_end = a->emergency || a->left_bytes < (in_hand < limit / 16 ? in_hand : limit / 16);
    bool stopped = atomic_load_explicit(&silent, memory_order_relaxed) == (uint64_t)seen + 1;
    bool longer = (told || near_end) && !stopped;

    if (!futex_bell_wait(&acted, seen, longer ? WAIT_NEAR_END_MS : WAIT_FOR_OTHER_MS) && longer)
        atomic_store_explicit(&silent, (uint64_t)seen + 1, memory_order_relaxed);
}

// True where this thread waited for another's reclaim instead. That one may have been decided on
// long ago, and have found nothing, so the thread evaluates once more. `again`: it does, and waits
// for none.
static bool act(enum pressure_cause cause, const struct pressure_action *a,
                const struct pressure_sample *s, bool again)
{
    bool told = atomic_load_explicit(&telling, memory_order_relaxed);
    bool wait = cause == PRESSURE_CAUSE_ASSIST && !again;
    if (!a->reclaim && !told)
        return false;
    uint32_t seen = futex_bell_read(&acted);
    if (!futex_lock_try(&act_lock)) {
        // Another is giving back already. Going on growing meanwhile is what kills.
        if (wait)
            await_other(a, s, told, seen);
        return wait;
    }
    if (a->reclaim)
        reclaim(&(struct pressure_reclaim){.cause = cause,
                                           .why = a->why,
                                           .level = a->level,
                                           .keep_bytes = a->keep_bytes,
                                           .used_bytes = s->used_bytes,
                                           .held_bytes = s->held_bytes,
                                           .limit_bytes = s->limit_bytes});
    else
        end_act();
    return false;
}

// Without any limit memory is never short. Said once, and not again in a child: a server's workers
// are many.
static void say_blind(const struct pressure_sample *s)
{
    static _Atomic bool said;

    if (s->limit_bytes == PRESSURE_UNLIMITED && hooks->log && !atomic_exchange(&said, true))
        hooks->log(PRESSURE_LOG_SOURCE,
                   "memory is not watched: neither a cgroup nor /proc/meminfo can be read");
}

enum outcome {
    EVALUATED,
    BUSY,   // another thread was evaluating for all of `wait_ms`
    WAITED, // for another thread's reclaim
};

// Sample, step, act. `again`: without a wait for another's reclaim.
static enum outcome evaluate(enum pressure_cause cause, size_t pending, unsigned wait_ms,
                             bool again)
{
    if (wait_ms ? !futex_lock_take(&evaluation_lock, wait_ms) : !futex_lock_try(&evaluation_lock))
        return BUSY;
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
            hooks->set_keep(a.keep_bytes, pressure_near_limit(&s));
    }
    if (a.tight != w.was_tight && hooks->set_tight)
        hooks->set_tight(a.tight);
    w.was_tight = a.tight;
    atomic_store_explicit(&crowded,
                          a.emergency && !s.alone && s.not_ours_bytes > pressure_near_limit(&s) / 8,
                          memory_order_relaxed);
    atomic_store_explicit(&next_evaluation_ms, a.next_evaluation_ms, memory_order_relaxed);
    direct_evaluated(&a, &s, stats->sample_us);
    evaluate_on_step(&a, &s);
    atomic_store_explicit(&evaluated, true, memory_order_relaxed);
    snapshot_post(&w.state, &s);
    futex_lock_drop(&evaluation_lock);
    say_blind(&s);
    if (hooks->evaluated)
        hooks->evaluated(cause, &a, &s);
    if (turned_urgent && hooks->on_critical)
        tell_critical();
    return act(cause, &a, &s, again) ? WAITED : EVALUATED;
}

// The next block may be the last, and other processes may be about to give back what they freed.
static void yield(size_t pending)
{
    for (int i = 0; i < YIELD_TIMES; i++) {
        futex_bell_wait(&acted, futex_bell_read(&acted), YIELD_MS);
        evaluate(PRESSURE_CAUSE_ASSIST, pending, WAIT_FOR_OTHER_MS, true);
        if (!atomic_load_explicit(&crowded, memory_order_relaxed))
            return;
    }
    atomic_store_explicit(&yield_at_ms, clock_now_ms() + YIELD_AGAIN_MS, memory_order_relaxed);
}

bool evaluate_run(enum pressure_cause cause, size_t pending, unsigned wait_ms)
{
    if (busy || !options || atomic_load_explicit(&forbidden, memory_order_relaxed))
        return false;
    int saved = errno;
    busy = true;
    enum outcome o = evaluate(cause, pending, wait_ms, false);
    // The other thread has the lock once more, to see what its reclaim came to.
    if (o == WAITED)
        evaluate(cause, pending, wait_ms > WAIT_FOR_OTHER_MS ? wait_ms : WAIT_FOR_OTHER_MS, true);
    // One that gives pages back, with nothing pending, has no need of them.
    if (pending && cause == PRESSURE_CAUSE_ASSIST &&
        atomic_load_explicit(&crowded, memory_order_relaxed) &&
        clock_now_ms() >= atomic_load_explicit(&yield_at_ms, memory_order_relaxed))
        yield(pending);
    busy = false;
    errno = saved;
    return o != BUSY;
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

bool evaluate_await_reclaim(unsigned wait_ms)
{
    bool none = futex_lock_try(&act_lock);

    if (!none && !futex_lock_take(&act_lock, wait_ms))
        return false;
    end_act();
    return !none;
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

void evaluate_before_fork(void)
{
    struct pressure_stats now;

    // `ls` in a shell costs no evaluation.
    if (busy || !evaluate_done())
        return;
    evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 0);
    pressure_stats(&now);
    if (now.level >= PRESSURE_MODERATE && now.sample.held_bytes >= FORK_MIN_BYTES)
        pressure_reclaim(0, PRESSURE_CAUSE_ASSIST);
}

void evaluate_child(void)
{
    // Only the thread that forked is left. The holders of these locks do not exist here.
    futex_lock_reset(&evaluation_lock);
    futex_lock_reset(&act_lock);
    atomic_store_explicit(&telling, false, memory_order_relaxed);
    atomic_store_explicit(&silent, 0, memory_order_relaxed);
    busy = false;
    if (!options)
        return;
    memset(&w.state, 0, sizeof w.state);
    thread_cpu_us = 0;
    w.reported = PRESSURE_NORMAL;
    w.was_urgent = w.was_tight = w.sighted = false;
    w.is_child = true;
    bool known = evaluate_done();
    uint64_t limit = pressure_near_limit(&snapshot_stats()->sample);
    sample_init(&w.source, options);
    if (options->evaluates)
        direct_init(options);
    atomic_store_explicit(&evaluated, false, memory_order_relaxed);
    snapshot_clear();
    // The ceiling in the heap is a copy of the parent's, and a child that never grows enough for an
    // evaluation would keep it for good. Its limit is the parent's.
    if (hooks->set_keep)
        hooks->set_keep(PRESSURE_UNLIMITED, known ? limit : PRESSURE_UNLIMITED);
    if (hooks->set_tight)
        hooks->set_tight(false);
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
    }
    futex_lock_drop(&evaluation_lock);
    return true;
}
