#include "mfile/prefetch.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mfile/advise.h"
#include "shim/base.h"

// The smallest read-ahead window that is common: a larger step would leave gaps.
#define STEP_BYTES ((uint64_t)128 << 10)
#define INLINE_BYTES ((uint64_t)1 << 20)
// Steps between two looks at how much room there is.
#define STEPS_PER_LOOK 64
#define STACK_BYTES (64 * 1024)

enum { JOBS = 64 };
enum { FREE, FILLING, READY };

static struct job {
    _Atomic uint32_t state;
    _Atomic uint64_t start, end;
} jobs[JOBS];
static _Atomic uint32_t posted; // counts, and is slept on
static _Atomic bool running;

uint64_t (*prefetch_room)(void);

// False: no such mapping any more, or nothing that can be read ahead.
static bool steps(uint64_t start, uint64_t end)
{
    for (uint64_t at = start; at < end; at += STEP_BYTES)
        if (advise(ADVICE_PREFETCH, at, end - at < STEP_BYTES ? end - at : STEP_BYTES) != 0)
            return false;
    return true;
}

static uint64_t cut_to_room(uint64_t start, uint64_t end)
{
    uint64_t room = prefetch_room ? prefetch_room() : UINT64_MAX;

    return end - start > room ? start + room : end;
}

static void do_job(uint64_t start, uint64_t end)
{
    const uint64_t stretch = STEP_BYTES * STEPS_PER_LOOK;

    end = cut_to_room(start, end);
    for (uint64_t at = start; at < end; at += stretch) {
        // Memory may have become short meanwhile.
        if (!cut_to_room(0, 1) || !steps(at, end - at < stretch ? end : at + stretch))
            return;
    }
}

static bool take_job(uint64_t *start, uint64_t *end)
{
    for (unsigned i = 0; i < JOBS; i++) {
        if (atomic_load_explicit(&jobs[i].state, memory_order_acquire) != READY)
            continue;
        *start = atomic_load_explicit(&jobs[i].start, memory_order_relaxed);
        *end = atomic_load_explicit(&jobs[i].end, memory_order_relaxed);
        atomic_store_explicit(&jobs[i].state, FREE, memory_order_release);
        return true;
    }
    return false;
}

static void *run(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "tidepool-read");
    for (;;) {
        uint32_t seen = atomic_load(&posted);
        uint64_t start, end;
        while (take_job(&start, &end))
            do_job(start, end);
        syscall(SYS_futex, &posted, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    }
    return NULL;
}

void prefetch_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN) + 16 * 1024;
    int saved = errno;

    if (atomic_exchange(&running, true))
        return;
    if (pthread_attr_init(&attr) == 0) {
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attr, least > STACK_BYTES ? least : STACK_BYTES);
        // It inherits this, so no signal reaches it even in its first instructions.
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        // Where it cannot be had, callers go on doing the first MiB.
        if (pthread_create(&thread, &attr, run, NULL) != 0)
            atomic_store(&running, false);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attr);
    }
    errno = saved;
}

bool prefetch_waits(void)
{
    if (atomic_load_explicit(&running, memory_order_relaxed))
        return false;
    for (unsigned i = 0; i < JOBS; i++)
        if (atomic_load_explicit(&jobs[i].state, memory_order_relaxed) == READY)
            return true;
    return false;
}

static bool leave_job(uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < JOBS; i++) {
        uint32_t is_free = FREE;
        if (!atomic_compare_exchange_strong(&jobs[i].state, &is_free, FILLING))
            continue;
        atomic_store_explicit(&jobs[i].start, start, memory_order_relaxed);
        atomic_store_explicit(&jobs[i].end, end, memory_order_relaxed);
        atomic_store_explicit(&jobs[i].state, READY, memory_order_release);
        return true;
    }
    return false;
}

static void wake(void)
{
    int saved = errno;

    atomic_fetch_add(&posted, 1);
    syscall(SYS_futex, &posted, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

void prefetch_post(uint64_t start, uint64_t end)
{
    uint64_t first = end - start < INLINE_BYTES ? end : start + INLINE_BYTES;

    if (!atomic_load_explicit(&running, memory_order_relaxed)) {
        if (!steps(start, first))
            return;
        start = first;
    }
    if (start == end)
        return;
    if (!leave_job(start, end))
        advise_count(ADVICE_PREFETCH, ADVICE_REFUSED);
    else if (atomic_load_explicit(&running, memory_order_relaxed))
        wake();
}

void prefetch_postfork_child(void)
{
    atomic_store(&running, false);
    for (unsigned i = 0; i < JOBS; i++)
        atomic_store(&jobs[i].state, FREE);
}
