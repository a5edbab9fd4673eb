#include "mfile/worker.h"

#include <errno.h>
#include <linux/close_range.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/clock.h"
#include "shim/kernel.h"
#include "shim/thread.h"

#define STACK_BYTES (64 * 1024)
#define SPARE_BYTES (32 * 1024)
#define LAST_NAP_MS 8
// What cannot be done now (no descriptor is left) is tried again, in the end every so often.
#define STUCK_NAP_MS 128
// Work that takes longer than this at once is followed by a rest of four times as long, of 8 ms at
// most.
#define LONG_US 1000

static _Atomic bool running, stopping;
static struct thread_slot slot;
static _Atomic uint32_t woken; // counts, and is slept on

_Atomic bool worker_sleeps;

bool worker_runs(void)
{
    return atomic_load_explicit(&running, memory_order_relaxed);
}

static bool work_once(const struct worker_jobs *jobs)
{
    uint64_t before = clock_us(CLOCK_MONOTONIC);
    bool done = jobs->work();
    uint64_t took = clock_us(CLOCK_MONOTONIC) - before;

    if (took > LONG_US)
        clock_nap_us(took * 4 < LAST_NAP_MS * 1000 ? (unsigned)took * 4 : LAST_NAP_MS * 1000);
    return done;
}

// False: there is something to do.
static bool sleep_until_poked(const struct worker_jobs *jobs)
{
    uint32_t seen = atomic_load(&woken);

    // A caller with work stores it first and checks for a sleeper then; this is the other order.
    atomic_store(&worker_sleeps, true);
    bool idle = !jobs->waits() && !atomic_load(&stopping);
    if (idle)
        kernel_futex_wait(&woken, seen, UINT64_MAX);
    atomic_store(&worker_sleeps, false);
    return idle;
}

static void *run(void *arg)
{
    const struct worker_jobs *jobs = arg;
    unsigned ms = 1, stuck_ms = 1;

    thread_runs(&slot);
    syscall(SYS_prctl, PR_SET_NAME, "tidepool-files", 0, 0, 0);
    if (jobs->begin)
        jobs->begin();
    // A table of descriptors of its own, empty (Linux 5.9): what is opened here takes no number
    // that the program may count on, and no child of a fork inherits it.
    syscall(SYS_close_range, 0U, ~0U, CLOSE_RANGE_UNSHARE);
    while (!atomic_load(&stopping)) {
        while (!atomic_load(&stopping) && work_once(jobs))
            ms = stuck_ms = 1;
        if (ms <= LAST_NAP_MS) {
            clock_nap_us(ms * 1000);
            ms *= 2;
        } else if (sleep_until_poked(jobs)) {
            ms = stuck_ms = 1;
        } else {
            clock_nap_us(stuck_ms * 1000);
            stuck_ms = stuck_ms < STUCK_NAP_MS ? stuck_ms * 2 : STUCK_NAP_MS;
        }
    }
    return NULL;
}

void worker_start(const struct worker_jobs *jobs)
{
    int saved = errno;

    if (atomic_exchange(&running, true))
        return;
    atomic_store(&stopping, false);
    // Where there is none to be had, the callers go on as without.
    if (thread_start(&slot, run, (void *)(uintptr_t)jobs, STACK_BYTES, SPARE_BYTES) != 0)
        atomic_store(&running, false);
    errno = saved;
}

bool worker_suspend(unsigned ms)
{
    int saved = errno;

    atomic_fetch_add(&slot.holds, 1);
    atomic_store(&stopping, true);
    atomic_fetch_add(&woken, 1);
    if (atomic_load(&slot.there))
        kernel_futex_wake(&woken, 1);
    bool gone = thread_await_end(&slot, ms);
    if (gone)
        atomic_store(&running, false);
    errno = saved;
    return gone;
}

void worker_resume(void)
{
    atomic_fetch_sub(&slot.holds, 1);
}

void worker_wake(void)
{
    int saved = errno;

    // Of callers that come together one is enough.
    if (!atomic_exchange(&worker_sleeps, false))
        return;
    atomic_fetch_add(&woken, 1);
    kernel_futex_wake(&woken, 1);
    errno = saved;
}

void worker_postfork_child(void)
{
    slot = (struct thread_slot){0};
    atomic_store(&running, false);
    atomic_store(&stopping, false);
    atomic_store(&worker_sleeps, false);
}
