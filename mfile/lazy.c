#include "mfile/lazy.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mfile/advise.h"
#include "mfile/policy.h"
#include "mfile/record.h"
#include "shim/base.h"

#define SECOND 16u // of record_now()
#define IDLE (1 * SECOND)
// Before a mapping is tried again; what it gave up has hardly come back before.
#define COOL_AGAIN (2 * SECOND)
#define PAGE_AGAIN (5 * SECOND)
// The kernel's list of mappings is read again after so long: what libc unmapped, which paths match.
#define CHECK (5 * SECOND)
#define BUDGET_US 50000
#define SLICE_BYTES ((uint64_t)64 << 20)

enum { OLDEST = 64, BATCH = 32, WINDOWS = 16, WINDOW_PAGES = 32 };

static _Atomic uint64_t freed;
// By the watchdog's thread.
static uint32_t checked, cooled_all;
// Where the budget ended in the middle of a mapping.
static uint64_t resume_cool, resume_page;

uint64_t lazy_freed_bytes(void)
{
    return atomic_load_explicit(&freed, memory_order_relaxed);
}

void lazy_count_freed(uint64_t bytes)
{
    atomic_fetch_add_explicit(&freed, bytes, memory_order_relaxed);
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static unsigned resident_pages(uint64_t start, uint64_t pages)
{
    unsigned char vec[WINDOWS * WINDOW_PAGES];
    unsigned n = 0;
    int saved = errno;

    if (syscall(SYS_mincore, start, pages * advise_page_bytes(), vec) == 0)
        for (uint64_t i = 0; i < pages; i++)
            n += vec[i] & 1;
    errno = saved;
    return n;
}

uint64_t lazy_resident_bytes(uint64_t start, uint64_t end)
{
    uint64_t page = advise_page_bytes(), pages = (end - start) / page, seen = 0;

    if (pages <= WINDOWS * WINDOW_PAGES)
        return resident_pages(start, pages) * page;
    for (uint64_t w = 0; w < WINDOWS; w++)
        seen +=
            resident_pages(start + (pages - WINDOW_PAGES) * w / (WINDOWS - 1) * page, WINDOW_PAGES);
    return pages * seen / (WINDOWS * WINDOW_PAGES) * page;
}

// The mappings to be paged out, the oldest use first.
struct oldest {
    unsigned count;
    struct mapping m[OLDEST];
};

static void insert(struct oldest *o, const struct mapping *m)
{
    unsigned at = o->count;

    if (o->count == OLDEST && m->used >= o->m[OLDEST - 1].used)
        return;
    while (at && o->m[at - 1].used > m->used)
        at--;
    if (o->count < OLDEST)
        o->count++;
    memmove(&o->m[at + 1], &o->m[at], (o->count - at - 1) * sizeof *m);
    o->m[at] = *m;
}

static bool may_cool(const struct mapping *m, enum lazy_level level, uint32_t now)
{
    if (m->cooled && now - m->cooled < COOL_AGAIN)
        return false;
    if (m->hints & HINT_COLD)
        return true;
    if (!(m->hints & HINT_LAZYFREE) || level < LAZY_HIGH)
        return false;
    return level == LAZY_CRITICAL || now - m->used >= IDLE;
}

static bool may_page_out(const struct mapping *m, uint32_t now)
{
    return (m->hints & HINT_LAZYFREE) && (!m->paged || now - m->paged >= PAGE_AGAIN);
}

static uint64_t start_at(uint64_t *resume, const struct mapping *m)
{
    uint64_t at = *resume > m->start && *resume < m->end ? *resume : m->start;

    *resume = 0;
    return at;
}

static uint64_t end_of_slice(const struct mapping *m, uint64_t at)
{
    return m->end - at < SLICE_BYTES ? m->end : at + SLICE_BYTES;
}

// Slice by slice, for 1 GiB of small pages takes some 50 ms. False: time is up.
static bool cool(const struct mapping *m, uint64_t until_us)
{
    enum record_mark mark = RECORD_COOLED;

    for (uint64_t at = start_at(&resume_cool, m); at < m->end; at = end_of_slice(m, at)) {
        if (now_us() >= until_us) {
            resume_cool = at;
            return false;
        }
        // Locked, or a device: it will be refused next time, too.
        if (advise(ADVICE_COLD, at, end_of_slice(m, at) - at) == -EINVAL) {
            mark = RECORD_EXCLUDED;
            break;
        }
    }
    record_mark(m->start, m->end, mark);
    return true;
}

// Marks cold what may be, and collects what may be paged out.
static void pass(enum lazy_level level, struct oldest *out, uint64_t until_us)
{
    struct mapping m[BATCH];
    uint32_t now = record_now();
    uint64_t at = 0;
    unsigned n;
    bool ok;

    do {
        n = record_read(at, m, BATCH, &ok);
        for (unsigned i = 0; i < n; i++) {
            at = m[i].end;
            if ((m[i].flags & MAPPING_EXCLUDED) || (m[i].hints & HINT_KEEP))
                continue;
            if (may_cool(&m[i], level, now) && !cool(&m[i], until_us))
                return;
            if (out && may_page_out(&m[i], now))
                insert(out, &m[i]);
        }
    } while (n == BATCH && now_us() < until_us);
}

// Up to `need` bytes of it. False: time is up.
static bool page_out(const struct mapping *m, uint64_t *need, uint64_t until_us)
{
    uint64_t at = start_at(&resume_page, m), end;

    for (; at < m->end && *need; at = end) {
        end = end_of_slice(m, at);
        if (now_us() >= until_us) {
            resume_page = at;
            return false;
        }
        uint64_t before = lazy_resident_bytes(at, end);
        if (!before)
            continue;
        int error = advise(ADVICE_PAGEOUT, at, end - at);
        uint64_t after = error ? before : lazy_resident_bytes(at, end);
        uint64_t gone = before > after ? before - after : 0;
        lazy_count_freed(gone);
        *need -= gone < *need ? gone : *need;
    }
    if (at >= m->end)
        record_mark(m->start, m->end, RECORD_PAGED);
    return true;
}

void lazy_relieve(enum lazy_level level, uint64_t need)
{
    struct oldest oldest = {0};
    uint64_t until = now_us() + BUDGET_US;
    uint32_t now = record_now();
    bool page = level == LAZY_CRITICAL && cooled_all;

    if (level < LAZY_CRITICAL)
        cooled_all = 0;
    if (level == LAZY_NORMAL) {
        resume_cool = resume_page = 0;
        return;
    }
    if (record_is_doubtful() || !checked || now - checked >= CHECK) {
        record_check(true);
        checked = now;
    }
    pass(level, page ? &oldest : NULL, until);
    if (level == LAZY_CRITICAL)
        cooled_all = now;
    for (unsigned i = 0; i < oldest.count && need; i++)
        if (!page_out(&oldest.m[i], &need, until))
            break;
}
