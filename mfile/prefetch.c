#include "mfile/prefetch.h"

#include <stdatomic.h>

#include "mfile/advise.h"
#include "mfile/record/record.h"
#include "mfile/worker.h"
#include "shim/base.h"

// The smallest read-ahead window that is common: a larger step would leave gaps.
#define STEP_BYTES ((uint64_t)128 << 10)
#define INLINE_BYTES ((uint64_t)1 << 20)
// The process's other threads cannot map meanwhile: some ms from a disk, less from the cache.
#define POPULATE_BYTES ((uint64_t)2 << 20)
// Between two readings of how much room there is.
#define STRETCH_BYTES ((uint64_t)8 << 20)

enum { JOBS = 64 };
enum { FREE, FILLING, READY };

struct range {
    uint64_t start, end, inode;
    uint32_t dev;
};

static struct job {
    _Atomic uint32_t state;
    struct range range; // of the thread that made it FILLING, or found it READY
} jobs[JOBS];

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
static bool populate(const struct range *r, uint64_t start, uint64_t end, bool (*between)(void))
{
    for (uint64_t at = start; at < end; at += POPULATE_BYTES) {
        between();
        if (!is_still_there(r, at) ||
            advise(ADVICE_POPULATE, at, end - at < POPULATE_BYTES ? end - at : POPULATE_BYTES) != 0)
            return false;
    }
    return true;
}

static uint64_t room(void)
{
    return prefetch_room ? prefetch_room() : UINT64_MAX;
}

static void do_job(const struct range *r, bool (*between)(void))
{
    uint64_t most = room(), end = r->end - r->start > most ? r->start + most : r->end;
    bool known = r->inode && advice_is_supported(ADVICE_POPULATE);

    for (uint64_t at = r->start; at < end; at += STRETCH_BYTES) {
        uint64_t stop = end - at < STRETCH_BYTES ? end : at + STRETCH_BYTES;
        // Memory may have become short meanwhile.
        if (!room() || !(known ? populate(r, at, stop, between) : steps(at, stop)))
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

bool prefetch_work(bool (*between)(void))
{
    struct range r;

    if (!take_job(&r))
        return false;
    do_job(&r, between);
    return true;
}

bool prefetch_waits(void)
{
    for (unsigned i = 0; i < JOBS; i++)
        if (atomic_load(&jobs[i].state) == READY)
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
        atomic_store(&jobs[i].state, READY);
        return true;
    }
    return false;
}

void prefetch_post(uint64_t start, uint64_t end, uint64_t inode, uint32_t dev)
{
    struct range r = {start, end, inode, dev};

    if (!worker_runs()) {
        r.start = end - start < INLINE_BYTES ? end : start + INLINE_BYTES;
        if (!steps(start, r.start))
            return;
    }
    if (r.start == r.end)
        return;
    if (!leave_job(&r))
        advise_count(ADVICE_PREFETCH, ADVICE_REFUSED);
    else
        worker_poke();
}

void prefetch_postfork_child(void)
{
    for (unsigned i = 0; i < JOBS; i++)
        if (atomic_load(&jobs[i].state) != FREE)
            atomic_store(&jobs[i].state, FREE);
}
