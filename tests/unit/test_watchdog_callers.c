// Descriptors that others have the thread wait on: they are served, and change nothing for looks.
// A pipe without a reader is a caller that never stops.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <unistd.h>

#include "pressure/direct_reclaim.h"
#include "pressure/stats_snapshot.h"
#include "pressure/watchdog_thread.h"
#include "tests/unit/pressure_grow.h"

#define M ((size_t)1 << 20)
#define PATIENCE_MS 10000
#define GAP_MS 10

static struct pressure_options options;
static int ends[2];
static bool reads;
static _Atomic unsigned served, overlapping, ticks;
static _Atomic uint64_t first_ms, last_ms;

static unsigned wait_on(struct pollfd *fds, uint64_t now)
{
    (void)now;
    fds[0] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    return 1;
}

static void serve(uint64_t now)
{
    char byte;
    if (reads && read(ends[0], &byte, 1) != 1)
        atomic_fetch_add(&overlapping, 1);
    if (!atomic_load(&served))
        atomic_store(&first_ms, now);
    atomic_store(&last_ms, now);
    atomic_fetch_add(&served, 1);
}

static void tick(uint64_t now)
{
    (void)now;
    atomic_fetch_add(&ticks, 1);
}

static const struct pressure_hooks hooks = {.wait_on = wait_on, .serve = serve, .tick = tick};

static void start(bool accelerators)
{
    options = pressure_defaults;
    options.accelerators = accelerators;
    options.interval_ms = 600000;
    cr_assert(eq(int, pipe(ends), 0));
    watchdog_thread_init(&options, &hooks);
    pressure_grow(64 * M);
    watchdog_thread_poke();
}

static void call(void)
{
    cr_assert(eq(int, (int)write(ends[1], "x", 1), 1));
}

static void wait_for(_Atomic unsigned *count, unsigned n)
{
    for (int ms = 0; ms < PATIENCE_MS && atomic_load(count) < n; ms++)
        usleep(1000);
    cr_expect(ge(uint, atomic_load(count), n));
}

static void serve_five(bool accelerators)
{
    reads = true;
    start(accelerators);
    for (unsigned i = 1; i <= 5; i++) {
        call();
        wait_for(&served, i);
    }
    usleep(50000);
    cr_expect(eq(uint, atomic_load(&served), 5));
    cr_expect(eq(uint, atomic_load(&overlapping), 0));
}

Test(watchdog_thread, each_call_is_served_once)
{
    serve_five(false);
}

Test(watchdog_thread, each_call_is_served_once_beside_other_descriptors)
{
    serve_five(true);
}

// Beside descriptors of the thread's own, which it waits for without a break.
Test(watchdog_thread, a_caller_who_never_stops_is_heard_once_in_10_ms)
{
    start(true);
    call();
    wait_for(&served, 20);
    uint64_t n = atomic_load(&served), elapsed = atomic_load(&last_ms) - atomic_load(&first_ms);
    cr_expect(le(ulong, n, elapsed / GAP_MS + 3));
}

// The thread's first evaluation beside that of the growth, and one for memory that piled up,
// perhaps.
Test(watchdog_thread, looks_and_ticks_go_on_as_if_nobody_called)
{
    struct pressure_stats s;
    start(false);
    call();
    wait_for(&ticks, 3);
    pressure_stats(&s);
    cr_expect(ge(uint, atomic_load(&served), 5));
    cr_expect(le(ulong, s.evaluations, 4));
}

Test(watchdog_thread, nobody_is_served_after_the_end)
{
    start(false);
    call();
    wait_for(&served, 1);
    watchdog_thread_stop();
    unsigned before = atomic_load(&served);
    watchdog_thread_end();
    cr_expect(eq(uint, atomic_load(&served), before));
}
