#include "mfile/mfile.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "mfile/calls.h"
#include "mfile/lazy.h"
#include "mfile/parse/maps.h"
#include "mfile/prefetch.h"
#include "mfile/record/record.h"
#include "mfile/rules.h"
#include "mfile/worker.h"
#include "shim/base.h"

static struct policy policy;
static void (*begin_worker)(void);
// The program may write over its environment (setproctitle), and rules are read for ever.
static char policy_text[MFILE_POLICY_MAX + 1];

void mfile_init(const struct mfile_options *o)
{
    begin_worker = o->begin_worker;
    unsigned on = (o->record ? CALLS_RECORD : 0) | (o->merge ? CALLS_MERGE : 0);

    if (o->policy && strlen(o->policy) <= MFILE_POLICY_MAX &&
        policy_parse(strcpy(policy_text, o->policy), &policy)) {
        rules_init(&policy);
        record_rule = rules_hints;
        on |= CALLS_RECORD;
        // Without such hints files need not be told apart while they are mapped.
        if (policy.all & HINT_AT_ONCE)
            on |= CALLS_RULES;
    }
    calls_switch_on(on);
}

static bool do_pending(void)
{
    bool settled = rules_settle();

    return prefetch_work(rules_settle) || settled;
}

static bool waits(void)
{
    return record_waits() || prefetch_waits();
}

// What is promised before mmap() returns cannot wait for another thread.
static bool asks_later(void)
{
    return (policy.all & HINT_AT_ONCE) && !(policy.all & HINT_POPULATE);
}

bool mfile_wants_worker(void)
{
    return asks_later() || (policy.all & HINT_PREFETCH) || (!worker_runs() && prefetch_waits());
}

void mfile_start_worker(void)
{
    static struct worker_jobs jobs = {.work = do_pending, .waits = waits};

    jobs.begin = begin_worker;
    if (worker_runs())
        return;
    worker_start(&jobs);
    if (worker_runs() && asks_later())
        calls_switch_on(CALLS_LATER);
}

bool mfile_wants_watchdog(void)
{
    return policy.all & HINT_ON_PRESSURE;
}

#define CHECK_TICKS (10 * 16u)
#define SAMPLES 256u
#define SAMPLE_PAGES 16u

static const char *const kind_names[MFILE_KINDS] = {"shared", "shared_readonly", "private",
                                                    "private_readonly"};

const char *mfile_kind_name(enum mfile_kind kind)
{
    return kind_names[kind];
}

static enum mfile_kind kind_of(const struct mapping *m)
{
    if (m->flags & MAPPING_SHARED)
        return m->prot & PROT_WRITE ? MFILE_SHARED : MFILE_SHARED_READONLY;
    return m->prot & PROT_WRITE ? MFILE_PRIVATE : MFILE_PRIVATE_READONLY;
}

// Samples stand at equal distances in the row of all mappings, so each page has the same chance.
struct sampling {
    uint64_t distance, next; // bytes; until the next sample
    uint64_t asked[MFILE_KINDS], resident[MFILE_KINDS];
};

static void sample(struct sampling *s, const struct mapping *m)
{
    uint64_t window = SAMPLE_PAGES * advise_page_bytes(), bytes = m->end - m->start;

    while (s->next < bytes) {
        uint64_t at = m->start + (s->next & -advise_page_bytes());
        uint64_t end = m->end - at < window ? m->end : at + window;
        s->asked[kind_of(m)] += end - at;
        s->resident[kind_of(m)] += lazy_resident_bytes(at, end);
        s->next += s->distance;
    }
    s->next -= bytes;
}

// Every mapping in turn. False: the table was taken all the time.
static bool each(void (*do_with)(void *arg, const struct mapping *m), void *arg)
{
    struct mapping m[32];
    uint64_t at = 0;
    unsigned n;
    bool ok;

    do {
        n = record_read(at, m, array_len(m), &ok);
        for (unsigned i = 0; i < n; i++)
            do_with(arg, &m[i]);
        if (n)
            at = m[n - 1].end;
    } while (n == array_len(m));
    return ok;
}

static void add(void *arg, const struct mapping *m)
{
    struct mfile_stats *s = arg;

    s->kind[kind_of(m)].mappings++;
    s->kind[kind_of(m)].bytes += m->end - m->start;
}

static void sample_one(void *arg, const struct mapping *m)
{
    sample(arg, m);
}

bool mfile_stats(struct mfile_stats *out)
{
    struct mfile_stats s = {.lazily_freed_bytes = lazy_freed_bytes(), .lost_notes = record_lost()};
    struct sampling sampling = {0};
    uint64_t total = 0;

    if (!calls_records())
        return false;
    record_refresh(CHECK_TICKS);
    if (!each(add, &s))
        return false;
    for (unsigned k = 0; k < MFILE_KINDS; k++)
        total += s.kind[k].bytes;
    sampling.distance = total / SAMPLES + advise_page_bytes();
    if (!each(sample_one, &sampling))
        return false;
    for (unsigned k = 0; k < MFILE_KINDS; k++)
        if (sampling.asked[k])
            s.kind[k].resident_bytes =
                (uint64_t)((double)s.kind[k].bytes * (double)sampling.resident[k] /
                           (double)sampling.asked[k]);
    *out = s;
    return true;
}

bool mfile_suspend(unsigned ms)
{
    calls_switch_off(CALLS_LATER);
    return worker_suspend(ms);
}

void mfile_resume(void)
{
    worker_resume();
}

void mfile_prefork(void)
{
    if (calls_records())
        record_prefork();
}

void mfile_postfork_parent(void)
{
    record_postfork_parent();
}

void mfile_postfork_child(void)
{
    calls_switch_off(CALLS_LATER);
    worker_postfork_child();
    prefetch_postfork_child();
    if (calls_records())
        record_postfork_child();
}
