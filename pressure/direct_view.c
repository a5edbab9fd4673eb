#include "pressure/direct_view.h"

#include "shim/clock.h"

#define MIB (UINT64_C(1) << 20)

// The first evaluation costs some 100 us once; a limit too small for that is not supported.
#define FIRST_EVALUATION_BYTES (4 * MIB)

// Of growth, until it is asked whether the last evaluation is too old.
#define STEP_BYTES MIB
// How old the last evaluation is, at most: 64 times as old as it took, within this.
#define AGE_MIN_MS 2
#define AGE_MAX_MS 10

// Of a process, on all 64-bit machines that Linux runs on, but where it is asked for more.
#define ADDRESS_SPACE_BYTES (UINT64_C(1) << 47)

struct direct_counter direct_grown = {.due = UINT64_MAX}, direct_shrunk = {.due = UINT64_MAX},
                      direct_freed = {.due = UINT64_MAX}, direct_reused = {.due = UINT64_MAX};
_Atomic uint64_t direct_kept;
struct direct_view direct_view = {.keep_bytes = PRESSURE_UNLIMITED,
                                  .headroom_bytes = PRESSURE_UNLIMITED,
                                  .left_bytes = PRESSURE_UNLIMITED,
                                  .limit_bytes = ADDRESS_SPACE_BYTES,
                                  .grown_due = UINT64_MAX};

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
    store(&direct_view.grown_then, 0);
    atomic_store_explicit(&direct_view.level, PRESSURE_NORMAL, memory_order_relaxed);
    store(&direct_view.keep_bytes, PRESSURE_UNLIMITED);
    store(&direct_view.headroom_bytes, PRESSURE_UNLIMITED);
    store(&direct_view.left_bytes, PRESSURE_UNLIMITED);
    store(&direct_view.limit_bytes, ADDRESS_SPACE_BYTES);
    store(&direct_freed.due, UINT64_MAX);
    // No evaluation has been taken that could be too old.
    store(&direct_view.old_at_ms, UINT64_MAX);
    uint64_t first = min64(o->evaluate_min_bytes, FIRST_EVALUATION_BYTES);
    store(&direct_view.grown_due, first);
    store(&direct_grown.due, first);
    // A child may live on what it inherited, and take no page from the kernel by itself.
    store(&direct_shrunk.due, first);
    store(&direct_reused.due, load(&direct_reused.total) + first);
}

// Under the evaluation's lock.
void direct_evaluated(const struct pressure_action *a, const struct pressure_sample *s,
                      uint64_t sample_us)
{
    atomic_store_explicit(&direct_view.level, (int)a->level, memory_order_relaxed);
    store(&direct_view.keep_bytes, a->keep_bytes);
    store(&direct_view.headroom_bytes, s->headroom_bytes);
    store(&direct_view.left_bytes,
          s->limit_bytes == PRESSURE_UNLIMITED ? s->limit_bytes : a->left_bytes);
    store(&direct_view.limit_bytes, min64(pressure_near_limit(s), ADDRESS_SPACE_BYTES));
    store(&direct_view.grown_then, s->grown_bytes);
    store(&direct_view.grown_due, s->grown_bytes + a->evaluate_after_bytes);
    store(&direct_grown.due, s->grown_bytes + min64(a->evaluate_after_bytes, STEP_BYTES));
    uint64_t age_ms = sample_us * 64 / 1000;
    age_ms = age_ms < AGE_MIN_MS ? AGE_MIN_MS : min64(age_ms, AGE_MAX_MS);
    store(&direct_view.old_at_ms, clock_now_ms() + age_ms);
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
}

uint64_t pressure_room(void)
{
    uint64_t since = load(&direct_grown.total) - load(&direct_view.grown_then);
    uint64_t headroom = load(&direct_view.headroom_bytes);
    if (headroom == PRESSURE_UNLIMITED)
        return headroom;
    return headroom > since ? headroom - since : 0;
}

// If not, the next step asks again.
bool direct_is_due(size_t bytes)
{
    uint64_t total = load(&direct_grown.total), due = load(&direct_view.grown_due);

    if (total + bytes >= due || clock_now_ms() >= load(&direct_view.old_at_ms))
        return true;
    store(&direct_grown.due, min64(due, total + bytes + STEP_BYTES));
    return false;
}
