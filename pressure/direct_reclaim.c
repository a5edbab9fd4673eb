#include "pressure/direct_reclaim.h"

#include "pressure/evaluate.h"
#include "pressure/promise.h"
#include "pressure/stats_snapshot.h"
#include "pressure/watchdog_thread.h"

#define MIB (UINT64_C(1) << 20)

// The first look costs some 100 us once; a limit so small that this is too late is nobody's.
#define FIRST_LOOK_BYTES (4 * MIB)

// How long the scheduler keeps a runnable thread waiting, at worst, with some dozens of others.
#define LOOK_WAIT_MS 50

// A wake-up is a system call; the kernel takes ten times as long to fault these pages in.
#define WAKE_BYTES (MIB / 4)

// Of growth, until it is asked whether the last look is too old; and how old that is.
#define STEP_BYTES MIB
#define AGE_MIN_MS 2
#define AGE_MAX_MS 10

// Of a process, on all 64-bit machines that Linux runs on, but where it is asked for more.
#define ADDRESS_SPACE_BYTES (UINT64_C(1) << 47)

struct assist_counter assist_grown = {.due = UINT64_MAX}, assist_shrunk = {.due = UINT64_MAX},
                      assist_freed = {.due = UINT64_MAX}, assist_reused = {.due = UINT64_MAX};
struct assist_view assist_view = {.keep_bytes = PRESSURE_UNLIMITED,
                                  .headroom_bytes = PRESSURE_UNLIMITED,
                                  .left_bytes = PRESSURE_UNLIMITED,
                                  .limit_bytes = ADDRESS_SPACE_BYTES,
                                  .grown_due = UINT64_MAX};

// The growth already counted in the headroom above, and from when on that is too old to go by.
static _Atomic uint64_t looked_at_grown, old_at_ms;

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

void assist_init(const struct pressure_options *o)
{
    store(&assist_grown.total, 0);
    store(&assist_shrunk.total, 0);
    store(&looked_at_grown, 0);
    atomic_store_explicit(&assist_view.level, PRESSURE_NORMAL, memory_order_relaxed);
    store(&assist_view.keep_bytes, PRESSURE_UNLIMITED);
    store(&assist_view.headroom_bytes, PRESSURE_UNLIMITED);
    store(&assist_view.left_bytes, PRESSURE_UNLIMITED);
    store(&assist_view.limit_bytes, ADDRESS_SPACE_BYTES);
    promise_init(o);
    store(&assist_shrunk.due, UINT64_MAX);
    store(&assist_freed.due, UINT64_MAX);
    store(&assist_reused.due, UINT64_MAX);
    // No look has been taken that could be too old.
    store(&old_at_ms, UINT64_MAX);
    uint64_t first = min64(o->watch_min_bytes, FIRST_LOOK_BYTES);
    store(&assist_view.grown_due, first);
    store(&assist_grown.due, first);
}

void assist_count_due(uint64_t total)
{
    static _Atomic uint64_t woken_at;

    if (total < load(&assist_view.grown_due))
        return;
    // Unsigned, so that a count that began anew in a child wakes as well.
    if (total - load(&woken_at) < WAKE_BYTES)
        return;
    store(&woken_at, total);
    monitor_wake();
}

void assist_shrink_due(size_t bytes)
{
    (void)bytes;
    watch_look(PRESSURE_CAUSE_ASSIST, 0, 0);
}

// Once for each look: the next one says when it is due again.
void assist_free_due(void)
{
    store(&assist_freed.due, UINT64_MAX);
    monitor_wake();
}

// Under the look's lock.
void assist_looked(const struct pressure_action *a, const struct pressure_sample *s)
{
    atomic_store_explicit(&assist_view.level, (int)a->level, memory_order_relaxed);
    store(&assist_view.keep_bytes, a->keep_bytes);
    store(&assist_view.headroom_bytes, s->headroom_bytes);
    store(&assist_view.left_bytes,
          s->limit_bytes == PRESSURE_UNLIMITED ? s->limit_bytes : a->left_bytes);
    store(&assist_view.limit_bytes, min64(pressure_near_limit(s), ADDRESS_SPACE_BYTES));
    promise_looked(s->kept_bytes, s);
    store(&looked_at_grown, s->grown_bytes);
    store(&assist_view.grown_due, s->grown_bytes + a->look_after_bytes);
    store(&assist_grown.due, s->grown_bytes + min64(a->look_after_bytes, STEP_BYTES));
    uint64_t age_ms = board_stats()->sample_us * 64 / 1000;
    age_ms = age_ms < AGE_MIN_MS ? AGE_MIN_MS : min64(age_ms, AGE_MAX_MS);
    store(&old_at_ms, watch_now_ms() + age_ms);
    // Frees lead to a look where what they leave with us could be too much for us, or enough for a
    // neighbour to need.
    uint64_t step = a->look_after_bytes;
    if (a->level >= PRESSURE_HIGH)
        step = a->keep_bytes > step ? a->keep_bytes : step;
    else
        step = s->headroom_bytes / 4 > 8 * MIB ? s->headroom_bytes / 4 : 8 * MIB;
    store(&assist_shrunk.due, s->shrunk_bytes + step);
    store(&assist_freed.due, load(&assist_freed.total) + step);
    store(&assist_reused.due,
          a->tight ? load(&assist_reused.total) + a->look_after_bytes : UINT64_MAX);
    monitor_hasten(a->next_look_ms);

    // A thread is worth having once what we could give back is worth having: in a small container
    // that is little. Or when a ceiling has to be lifted again, which growth may never do: it was
    // made for one request, perhaps, and that was refused. A busy machine alone is no reason for
    // `ls` to have one: it never grows enough for a first look.
    const struct pressure_options *o = watch_options();
    if (o->thread &&
        (s->grown_bytes >= o->watch_min_bytes || s->grown_bytes >= pressure_near_limit(s) / 8 ||
         a->keep_bytes != PRESSURE_UNLIMITED))
        monitor_want();
}

uint64_t pressure_room(void)
{
    uint64_t since = load(&assist_grown.total) - load(&looked_at_grown);
    uint64_t headroom = load(&assist_view.headroom_bytes);
    if (headroom == PRESSURE_UNLIMITED)
        return headroom;
    return headroom > since ? headroom - since : 0;
}

// Much was taken since the last look, or it is old. If not, the next step asks again.
static bool is_due(size_t bytes)
{
    uint64_t total = load(&assist_grown.total), due = load(&assist_view.grown_due);

    if (total + bytes >= due || watch_now_ms() >= load(&old_at_ms))
        return true;
    store(&assist_grown.due, min64(due, total + bytes + STEP_BYTES));
    return false;
}

// Another thread is looking, and may be off its processor while it does: with more threads than
// processors that takes long enough for the rest to run into the limit. They go on until half of
// what the last look saw left, after promises, has been handed out; then they wait for it.
void assist_grow_due(size_t bytes)
{
    uint64_t left = load(&assist_view.left_bytes);

    if (!is_due(pressure_may_fit(bytes) ? bytes : 0))
        return;
    if (watch_look(PRESSURE_CAUSE_ASSIST, bytes, 0) || left == PRESSURE_UNLIMITED)
        return;
    if (load(&assist_grown.total) - load(&looked_at_grown) + bytes > left / 2)
        watch_look(PRESSURE_CAUSE_ASSIST, bytes, LOOK_WAIT_MS);
}
