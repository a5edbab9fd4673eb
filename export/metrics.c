#include "export/metrics.h"

#include <assert.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "export/labels.h"
#include "export/outside.h"
#include "mfile/lazy.h"
#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/jemalloc_private/large_cache.h"
#include "pool/pool.h"
#include "pool/region/remap.h"
#include "pressure/kernel/futex_lock.h"

#define WORDS (sizeof(struct metrics_counters) / sizeof(uint64_t))
static_assert(sizeof(struct metrics_counters) % sizeof(uint64_t) == 0, "an array of counters");

#define LOCK_WAIT_MS 500

static struct metrics_options options;
static char labels[LABELS_TEXT_MAX];
static bool in_use;

// Held while numbers are read.
static struct futex_lock lock;

// Under the lock. Counters are kept as words: what each stood at when this process began, which is
// 0 unless it is a child, and what the last reading said.
static struct {
    struct identity who;
    char comm[16];
    uint64_t base[WORDS], last[WORDS];
    struct metrics_jemalloc jemalloc;
    bool jemalloc_known;
} known;

void metrics_init(const struct metrics_options *o)
{
    options = *o;
    if (!o->labels || !labels_parse(o->labels, labels))
        labels[0] = '\0';
    in_use = true;
}

// The name stays the one of the first reading: a series that is renamed is another one.
static void read_identity(struct metrics *m)
{
    if (known.who.pid != (int)syscall(SYS_getpid)) {
        identity_read(&known.who);
        identity_comm(known.comm);
    }
    m->who = known.who;
    memcpy(m->comm, known.comm, sizeof m->comm);
    m->labels = labels;
}

static void read_pools(struct metrics *m)
{
    struct pool_bucket_stats stats[QUOTA_BUCKETS_MAX];

    m->buckets = pool_stats(stats);
    m->pool_max_bytes = quota_max();
    m->cached_threads = cache_threads();
    for (unsigned b = 0; b < m->buckets; b++) {
        const struct pool_bucket_stats *s = &stats[b];
        m->count.bucket[b] = (struct metrics_bucket_counters){
            s->created, s->reused, s->freed, s->released, s->drained, s->overflows};
        m->bucket[b] = (struct metrics_bucket){
            .bound_bytes = s->bound_bytes,
            .free_blocks = s->free_blocks,
            .free_bytes = s->free_bytes,
            .live_blocks = s->live_blocks,
            .live_bytes = s->live_bytes,
            .slack_bytes = s->slack_bytes,
            .held_blocks = s->live_blocks + s->free_blocks,
            .held_bytes = s->live_bytes + s->free_bytes,
            .limit = s->limit,
            .limit_is_bytes = s->limit_is_bytes,
        };
    }
}

static uint64_t micro(uint64_t part, uint64_t whole)
{
    return whole ? (uint64_t)((double)part / (double)whole * 1e6 + 0.5) : 0;
}

static void read_pressure(struct metrics *m)
{
    struct pressure_stats p;
    struct metrics_counters *c = &m->count;

    pressure_stats(&p);
    m->watched = p.evaluations > 0;
    m->level = p.level;
    m->usage_bytes = p.sample.used_bytes;
    m->limit_bytes = p.sample.limit_bytes;
    m->usage_micro =
        m->limit_bytes == PRESSURE_UNLIMITED ? 0 : micro(m->usage_bytes, m->limit_bytes);
    m->resident_bytes = p.sample.rss_bytes;
    m->outside_bytes = outside_bytes();
    m->purged_unix_ms = p.reclaim_unix_ms;
    memcpy(c->transitions, p.transitions, sizeof c->transitions);
    memcpy(c->level_ms, p.level_ms, sizeof c->level_ms);
    memcpy(c->reclaims, p.reclaims, sizeof c->reclaims);
    memcpy(c->reclaimed_bytes, p.freed_bytes, sizeof c->reclaimed_bytes);
    memcpy(c->reclaim_took, p.reclaim_histogram, sizeof c->reclaim_took);
    c->reclaim_us = p.reclaim_us;
    c->evaluations = p.evaluations;
    c->late_evaluations = p.late_evaluations;
    c->direct_evaluations = p.direct_evaluations;
    c->refused = p.refused;
    c->moved_bytes = remap_bytes();
    m->page_moves = remap_enabled();
}

// What jemalloc shows is of the last "epoch", which locks every arena in turn.
static void read_jemalloc(struct metrics_jemalloc *j)
{
    static const struct {
        const char *name;
        size_t offset;
    } figures[] = {
        {"stats.allocated", offsetof(struct metrics_jemalloc, allocated)},
        {"stats.active", offsetof(struct metrics_jemalloc, active)},
        {"stats.resident", offsetof(struct metrics_jemalloc, resident)},
        {"stats.mapped", offsetof(struct metrics_jemalloc, mapped)},
        {"stats.retained", offsetof(struct metrics_jemalloc, retained)},
        {"stats.metadata", offsetof(struct metrics_jemalloc, metadata)},
        {"stats.arenas.4096.pdirty", offsetof(struct metrics_jemalloc, dirty)},
    };

    // A figure that is not to be had is 0, not what the last reading made of it.
    *j = (struct metrics_jemalloc){0};
    uint64_t epoch = 1;
    if (guard_entered())
        return;
    guard_enter();
    je_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    for (unsigned i = 0; i < array_len(figures); i++) {
        size_t value = 0, length = sizeof value;
        if (je_mallctl(figures[i].name, &value, &length, NULL, 0) == 0)
            *(uint64_t *)((char *)j + figures[i].offset) = value;
    }
    guard_leave();
    j->dirty *= 4096;
    uint64_t waiting = large_cache_bytes();
    j->allocated -= waiting < j->allocated ? waiting : j->allocated;
}

// From what sources say to what this process tells.
static void settle(struct metrics_counters *c)
{
    uint64_t word[WORDS];

    memcpy(word, c, sizeof word);
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t grown = word[i] > known.base[i] ? word[i] - known.base[i] : 0;
        // Other threads count while they are read: a sum may come out a little less than before.
        if (grown > known.last[i])
            known.last[i] = grown;
    }
    memcpy(c, known.last, sizeof *c);
}

static void read_advice(struct metrics_counters *c)
{
    for (unsigned a = 0; a < ADVICES; a++)
        for (unsigned r = 0; r < ADVICE_RESULTS; r++)
            c->advised[a][r] = advice_count(a, r);
    c->lazily_freed_bytes = lazy_freed_bytes();
}

static void read_files(struct metrics *m)
{
    struct mfile_stats s;

    m->files_known = mfile_stats(&s);
    for (unsigned k = 0; m->files_known && k < MFILE_KINDS; k++) {
        m->files.mappings[k] = s.kind[k].mappings;
        m->files.bytes[k] = s.kind[k].bytes;
        m->files.resident_bytes[k] = s.kind[k].resident_bytes;
    }
}

static void read_sources(struct metrics *m)
{
    read_pools(m);
    read_pressure(m);
    read_advice(&m->count);
    if (options.misused)
        options.misused(m->count.misused);
    if (options.sampled)
        options.sampled(m);
}

static void derive(struct metrics *m)
{
    for (unsigned b = 0; b < m->buckets; b++) {
        const struct metrics_bucket_counters *c = &m->count.bucket[b];
        m->bucket[b].allocations = c->created + c->reused;
        m->bucket[b].reuse_micro = micro(c->reused, c->created + c->reused);
    }
}

bool metrics_read(struct metrics *m, bool ask_jemalloc)
{
    memset(m, 0, sizeof *m);
    if (!futex_lock_take(&lock, LOCK_WAIT_MS))
        return false;
    read_identity(m);
    read_sources(m);
    settle(&m->count);
    read_files(m);
    if (ask_jemalloc) {
        read_jemalloc(&known.jemalloc);
        known.jemalloc_known = true;
    }
    m->jemalloc = known.jemalloc;
    m->jemalloc_known = known.jemalloc_known;
    futex_lock_drop(&lock);
    derive(m);
    return true;
}

void metrics_child(void)
{
    static struct metrics m; // the stack may be a small one

    if (!in_use)
        return;
    // Its holder does not exist here.
    futex_lock_reset(&lock);
    known.who.pid = 0;
    known.jemalloc_known = false;
    memset(&m, 0, sizeof m);
    read_sources(&m);
    memcpy(known.base, &m.count, sizeof known.base);
    memset(known.last, 0, sizeof known.last);
}
