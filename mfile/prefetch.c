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
#include "mfile/record.h"
#include "shim/base.h"

// The smallest read-ahead window that is common: a larger step would leave gaps.
#define STEP_BYTES ((uint64_t)128 << 10)
#define INLINE_BYTES ((uint64_t)1 << 20)
// The process's other threads cannot map meanwhile: some ms from a disk, less from the cache.
#define POPULATE_BYTES ((uint64_t)2 << 20)
// Between two looks at how much room there is.
#define STRETCH_BYTES ((uint64_t)8 << 20)
#define STACK_BYTES (64 * 1024)

enum { JOBS = 64 };
enum { FREE, FILLING, READY };

struct range {
    uint64_t start, end, inode;
    uint32_t dev;
};

static struct job {
    _Atomic uint32_t state;
    struct range range; // of who has made it FILLING, or found it READY
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

static bool is_still_there(const struct range *r, uint64_t at)
{
    struct mapping m;
    bool ok;

    return record_read(at, &m, 1, &ok) == 1 && m.start <= at && m.inode == r->inode &&
           m.dev == r->dev;
}

// False: there is no more to read, or not in this way.
static bool populate(const struct range *r, uint64_t start, uint64_t end)
{
    for (uint64_t at = start; at < end; at += POPULATE_BYTES)
        if (!is_still_there(r, at) ||
            advise(ADVICE_POPULATE, at, end - at < POPULATE_BYTES ? end - at : POPULATE_BYTES) != 0)
            return false;
    return true;
}

static uint64_t room(void)
{
    return prefetch_room ? prefetch_room() : UINT64_MAX;
}

static void do_job(const struct range *r)
{
    uint64_t most = room(), end = r->end - r->start > most ? r->start + most : r->end;
    bool known = r->inode && advice_is_supported(ADVICE_POPULATE);

    for (uint64_t at = r->start; at < end; at += STRETCH_BYTES) {
        uint64_t stop = end - at < STRETCH_BYTES ? end : at + STRETCH_BYTES;
        // Memory may have become short meanwhile.
        if (!room() || !(known ? populate(r, at, stop) : steps(at, stop)))
            return;
    }
}

static bool take_job(struct range *r)
{
    for (unsigned i = 0; i < JOBS; i++) {
        if (atomic_load_explicit(&jobs[i].state, memory_order_acquire) != READY)
            continue;
        *r = jobs[i].range;
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
        struct range r;
        while (take_job(&r))
            do_job(&r);
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

static bool leave_job(const struct range *r)
{
    for (unsigned i = 0; i < JOBS; i++) {
        uint32_t is_free = FREE;
        if (!atomic_compare_exchange_strong(&jobs[i].state, &is_free, FILLING))
            continue;
        jobs[i].range = *r;
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

void prefetch_post(uint64_t start, uint64_t end, uint64_t inode, uint32_t dev)
{
    struct range r = {start, end, inode, dev};

    if (!atomic_load_explicit(&running, memory_order_relaxed)) {
        r.start = end - start < INLINE_BYTES ? end : start + INLINE_BYTES;
        if (!steps(start, r.start))
            return;
    }
    if (r.start == r.end)
        return;
    if (!leave_job(&r))
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
