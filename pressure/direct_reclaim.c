#include "pressure/direct_reclaim.h"

#include "pressure/evaluate.h"
#include "pressure/promise.h"
#include "pressure/stats_snapshot.h"
#include "pressure/watchdog_thread.h"
#include "shim/clock.h"

#define MIB (UINT64_C(1) << 20)

// The first evaluation costs some 100 us once; a limit too small for that is not supported.
#define FIRST_EVALUATION_BYTES (4 * MIB)

// How long the scheduler keeps a runnable thread waiting, at worst, with some dozens of others.
#define EVALUATION_WAIT_MS 50

// A wake-up is a system call; the kernel takes ten times as long to fault these pages in.
#define WAKE_BYTES (MIB / 4)

// Of growth, until it is asked whether the last evaluation is too old; and how old that is.
#define STEP_BYTES MIB
#define AGE_MIN_MS 2
#define AGE_MAX_MS 10

// Of a process, on all 64-bit machines that Linux runs on, but where it is asked for more.
#define ADDRESS_SPACE_BYTES (UINT64_C(1) << 47)

struct direct_counter direct_grown = {.due = UINT64_MAX}, direct_shrunk = {.due = UINT64_MAX},
                      direct_freed = {.due = UINT64_MAX}, direct_reused = {.due = UINT64_MAX};
struct direct_view direct_view = {.keep_bytes = PRESSURE_UNLIMITED,
                                  .headroom_bytes = PRESSURE_UNLIMITED,
                                  .left_bytes = PRESSURE_UNLIMITED,
                                  .limit_bytes = ADDRESS_SPACE_BYTES,
                                  .grown_due = UINT64_MAX};

// The growth already counted in the headroom above, and from when on that is too old to go by.
static _Atomic uint64_t evaluated_at_grown, old_at_ms;

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static void store(_Atomic uint64_t *p, uint64_t x)
{
    atomic_store_explicit(p, x, memory_order_relaxed);
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void direct_init(const struct pressure_options *o)
{
    store(&direct_grown.total, 0);
    store(&direct_shrunk.total, 0);
    store(&evaluated_at_grown, 0);
    atomic_store_explicit(&direct_view.level, PRESSURE_NORMAL, memory_order_relaxed);
    store(&direct_view.keep_bytes, PRESSURE_UNLIMITED);
    store(&direct_view.headroom_bytes, PRESSURE_UNLIMITED);
    store(&direct_view.left_bytes, PRESSURE_UNLIMITED);
    store(&direct_view.limit_bytes, ADDRESS_SPACE_BYTES);
    promise_init(o);
    store(&direct_shrunk.due, UINT64_MAX);
    store(&direct_freed.due, UINT64_MAX);
    store(&direct_reused.due, UINT64_MAX);
    // No evaluation has been taken that could be too old.
    store(&old_at_ms, UINT64_MAX);
    uint64_t first = min64(o->evaluate_min_bytes, FIRST_EVALUATION_BYTES);
    store(&direct_view.grown_due, first);
    store(&direct_grown.due, first);
}

void direct_count_due(uint64_t total)
{
    static _Atomic uint64_t woken_at;

    if (total < load(&direct_view.grown_due))
        return;
    // Unsigned, so that a count that began anew in a child wakes as well.
    if (total - load(&woken_at) < WAKE_BYTES)
        return;
    store(&woken_at, total);
    watchdog_thread_wake();
}

void direct_shrink_due(size_t bytes)
{
    (void)bytes;
    evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 0);
}

// Once for each evaluation: the next one says when it is due again.
void direct_free_due(void)
{
    store(&direct_freed.due, UINT64_MAX);
    watchdog_thread_wake();
}

// Under the evaluation's lock.
void direct_evaluated(const struct pressure_action *a, const struct pressure_sample *s)
{
    atomic_store_explicit(&direct_view.level, (int)a->level, memory_order_relaxed);
    store(&direct_view.keep_bytes, a->keep_bytes);
    store(&direct_view.headroom_bytes, s->headroom_bytes);
    store(&direct_view.left_bytes,
          s->limit_bytes == PRESSURE_UNLIMITED ? s->limit_bytes : a->left_bytes);
    store(&direct_view.limit_bytes, min64(pressure_near_limit(s), ADDRESS_SPACE_BYTES));
    promise_evaluated(s->kept_bytes, s);
    store(&evaluated_at_grown, s->grown_bytes);
    store(&direct_view.grown_due, s->grown_bytes + a->evaluate_after_bytes);
    store(&direct_grown.due, s->grown_bytes + min64(a->evaluate_after_bytes, STEP_BYTES));
    uint64_t age_ms = snapshot_stats()->sample_us * 64 / 1000;
    age_ms = age_ms < AGE_MIN_MS ? AGE_MIN_MS : min64(age_ms, AGE_MAX_MS);
    store(&old_at_ms, clock_now_ms() + age_ms);
    // Frees lead to an evaluation where what they leave with us could be too much for us, or enough
    // for a neighbour to need.
    uint64_t step = a->evaluate_after_bytes;
    if (a->level >= PRESSURE_HIGH)
        step = a->keep_bytes > step ? a->keep_bytes : step;
    else
        step = s->headroom_bytes / 4 > 8 * MIB ? s->headroom_bytes / 4 : 8 * MIB;
    store(&direct_shrunk.due, s->shrunk_bytes + step);
    store(&direct_freed.due, load(&direct_freed.total) + step);
    store(&direct_reused.due,
          a->tight ? load(&direct_reused.total) + a->evaluate_after_bytes : UINT64_MAX);
    watchdog_thread_hasten(a->next_evaluation_ms);

    // A thread is worth having once what we could give back is worth having: in a small container
    // that is little. Or when a ceiling has to be lifted again, which growth may never do: it was
    // made for one request, perhaps, and that was refused. A busy machine alone is no reason for
    // `ls` to have one: it never grows enough for a first evaluation.
    const struct pressure_options *o = evaluate_options();
    if (o->thread &&
        (s->grown_bytes >= o->evaluate_min_bytes || s->grown_bytes >= pressure_near_limit(s) / 8 ||
         a->keep_bytes != PRESSURE_UNLIMITED))
        watchdog_thread_want();
}

uint64_t pressure_room(void)
{
    uint64_t since = load(&direct_grown.total) - load(&evaluated_at_grown);
    uint64_t headroom = load(&direct_view.headroom_bytes);
    if (headroom == PRESSURE_UNLIMITED)
        return headroom;
    return headroom > since ? headroom - since : 0;
}

// Much was taken since the last evaluation, or it is old. If not, the next step asks again.
static bool is_due(size_t bytes)
{
    uint64_t total = load(&direct_grown.total), due = load(&direct_view.grown_due);

    if (total + bytes >= due || clock_now_ms() >= load(&old_at_ms))
        return true;
    store(&direct_grown.due, min64(due, total + bytes + STEP_BYTES));
    return false;
}

// Another thread evaluates, and may be off its processor meanwhile. With more threads than
// processors that takes long enough for the rest to run into the limit. So the rest go on until
// half of the room that the last evaluation saw, after promises, has been handed out; then they
// wait for its end.
void direct_grow_due(size_t bytes)
{
    uint64_t left = load(&direct_view.left_bytes);

    if (!is_due(pressure_may_fit(bytes) ? bytes : 0))
        return;
    if (evaluate_run(PRESSURE_CAUSE_ASSIST, bytes, 0) || left == PRESSURE_UNLIMITED)
        return;
    if (load(&direct_grown.total) - load(&evaluated_at_grown) + bytes > left / 2)
        evaluate_run(PRESSURE_CAUSE_ASSIST, bytes, EVALUATION_WAIT_MS);
}
