#include "mfile/lazy.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mfile/advise.h"
#include "mfile/parse/policy.h"
#include "mfile/record/record.h"
#include "shim/base.h"
#include "shim/clock.h"

#define SECOND 16u // of record_now()
#define IDLE (1 * SECOND)
// Before a mapping is tried again; what it gave up has hardly come back before.
#define COOL_AGAIN (2 * SECOND)
#define PAGE_AGAIN (5 * SECOND)
// The kernel's list of mappings is read again after this time: what libc unmapped, which paths
// match.
#define CHECK (5 * SECOND)
// There are mappings that no rule was asked for.
#define CHECK_NEW (1 * SECOND)
#define BUDGET_US 50000
#define SLICE_BYTES ((uint64_t)64 << 20)

enum { OLDEST = 64, BATCH = 32, WINDOWS = 16, WINDOW_PAGES = 32 };

static _Atomic uint64_t freed;
// By the watchdog's thread.
static bool was_critical;
// Where marking cold goes on: mappings come in turn, or those at low addresses, which may be marked
// again soon, would take all the time.
static uint64_t cool_at;
// Where paging out goes on, in the middle of a mapping.
static uint64_t page_at;

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
    return clock_us(CLOCK_MONOTONIC);
}

uint64_t (*lazy_now_us)(void) = now_us;

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

static bool is_kept(const struct mapping *m)
{
    return (m->flags & MAPPING_EXCLUDED) || (m->hints & HINT_KEEP);
}

static bool may_cool(const struct mapping *m, enum lazy_level level, uint32_t now)
{
    if (is_kept(m))
        return false;
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
    return !is_kept(m) && (m->hints & HINT_LAZYFREE) && (!m->paged || now - m->paged >= PAGE_AGAIN);
}

// The first address of a mapping from `at` on; its start if that lies elsewhere.
static uint64_t inside(const struct mapping *m, uint64_t at)
{
    return at > m->start && at < m->end ? at : m->start;
}

static uint64_t end_of_slice(const struct mapping *m, uint64_t at)
{
    return m->end - at < SLICE_BYTES ? m->end : at + SLICE_BYTES;
}

// Slice by slice, for 1 GiB of small pages takes some 50 ms. False: time is up.
static bool cool(const struct mapping *m, uint64_t until_us)
{
    enum record_mark mark = RECORD_COOLED;

    for (uint64_t at = inside(m, cool_at); at < m->end; at = end_of_slice(m, at)) {
        cool_at = at;
        if (lazy_now_us() >= until_us)
            return false;
        // Locked, or a device: it will be refused next time, too.
        if (advise(ADVICE_COLD, at, end_of_slice(m, at) - at) == -EINVAL) {
            mark = RECORD_EXCLUDED;
            break;
        }
    }
    record_mark(m->start, m->end, mark);
    return true;
}

// One round over the mappings at most, from where the last one ended.
static void cool_all(enum lazy_level level, uint64_t until_us)
{
    struct mapping m[BATCH];
    uint64_t first = cool_at, at = first;
    uint32_t now = record_now();
    bool around = false, ok;
    unsigned n;

    for (;;) {
        n = record_read(at, m, BATCH, &ok);
        for (unsigned i = 0; i < n; i++) {
            if (around && m[i].start >= first)
                return;
            at = m[i].end;
            if (may_cool(&m[i], level, now) && !cool(&m[i], until_us))
                return;
        }
        if (n == BATCH)
            continue;
        if (around || !first)
            break;
        around = true;
        at = 0;
    }
    cool_at = 0;
}

static void find_oldest(struct oldest *out)
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
            if (may_page_out(&m[i], now))
                insert(out, &m[i]);
        }
    } while (n == BATCH);
}

// Up to `need` bytes of it. False: time is up.
static bool page_out(const struct mapping *m, uint64_t *need, uint64_t until_us)
{
    uint64_t at = inside(m, page_at), end;

    for (; at < m->end && *need; at = end) {
        end = end_of_slice(m, at);
        page_at = at;
        if (lazy_now_us() >= until_us)
            return false;
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

static void page_out_oldest(uint64_t need, uint64_t until_us)
{
    struct oldest oldest = {0};

    find_oldest(&oldest);
    for (unsigned i = 0; i < oldest.count && need; i++)
        if (!page_out(&oldest.m[i], &need, until_us))
            break;
}

void lazy_relieve(enum lazy_level level, uint64_t need)
{
    uint64_t start = lazy_now_us();

    if (level == LAZY_NORMAL) {
        cool_at = page_at = 0;
        was_critical = false;
        return;
    }
    record_refresh(record_has_unruled() ? CHECK_NEW : CHECK);
    // First, and with half of the time, for marking may need all of it, each time.
    if (level == LAZY_CRITICAL && was_critical)
        page_out_oldest(need, start + BUDGET_US / 2);
    cool_all(level, start + BUDGET_US);
    was_critical = level == LAZY_CRITICAL;
}
