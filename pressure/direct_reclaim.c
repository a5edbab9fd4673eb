#include "pressure/direct_reclaim.h"

#include "pressure/evaluate.h"

#define MIB (UINT64_C(1) << 20)

// How long the scheduler keeps a runnable thread waiting, at worst, with some dozens of others.
#define EVALUATION_WAIT_MS 50

// A wake-up is a system call; the kernel takes ten times as long to fault these pages in.
#define WAKE_BYTES (MIB / 4)

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

void (*direct_wake)(void);

void direct_count_due(uint64_t total)
{
    static _Atomic uint64_t woken_at;

    if (total < load(&direct_view.grown_due))
        return;
    // Unsigned, so that a count that began anew in a child wakes as well.
    if (total - load(&woken_at) < WAKE_BYTES)
        return;
    atomic_store_explicit(&woken_at, total, memory_order_relaxed);
    direct_wake();
}

void direct_shrink_due(size_t bytes)
{
    (void)bytes;
    evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 0);
}

// Once for each evaluation: the next one says when it is due again.
void direct_free_due(void)
{
    atomic_store_explicit(&direct_freed.due, UINT64_MAX, memory_order_relaxed);
    direct_wake();
}

// Another thread evaluates, and may be off its processor meanwhile. With more threads than
// processors that takes long enough for the rest to run into the limit. So the rest go on until
// half of the room that the last evaluation saw, after promises, has been handed out; then they
// wait for its end.
void direct_grow_due(size_t bytes)
{
    uint64_t left = load(&direct_view.left_bytes);

    if (!direct_is_due(pressure_may_fit(bytes) ? bytes : 0))
        return;
    if (evaluate_run(PRESSURE_CAUSE_ASSIST, bytes, 0) || left == PRESSURE_UNLIMITED)
        return;
    if (load(&direct_grown.total) - load(&direct_view.grown_then) + bytes > left / 2)
        evaluate_run(PRESSURE_CAUSE_ASSIST, bytes, EVALUATION_WAIT_MS);
}
