#include "pressure/usage/sample.h"

#include "pressure/kernel/text.h"

// The machine's memory moves slowly next to ours, unless it is what binds: 20 us saved an
// evaluation.
#define RAM_AGE_MS 1000
// What is not usage changes, but not many times a second.
#define FULL_AGE_MS 250
// A limit that falls, or a move to another cgroup, must not be missed by a program that grows:
// 4 GiB/s at most (policy.c), so by 8 MiB.
#define UNCHANGED_AGE_MS 2

// A shell that waits for this process has half of that.
#define ALONE_BYTES ((uint64_t)1 << 20)

void sample_init(struct sample_source *s, const struct pressure_options *o)
{
    cgroup_init(&s->cgroup, o->root);
    s->has_ram = s->ram_binds = false;
    s->ram_ms = 0;
    s->may_shorten = false;
}

static bool is_closer(uint64_t used, uint64_t limit, uint64_t than_used, uint64_t than_limit)
{
    return (double)used / (double)limit > (double)than_used / (double)than_limit;
}

static void offer(struct pressure_sample *s, enum pressure_limit_kind kind, uint64_t limit,
                  uint64_t used, uint64_t raw)
{
    if (limit == PRESSURE_UNLIMITED)
        return;
    limit = limit ? limit : 1;
    uint64_t headroom = limit > used ? limit - used : 0;
    // The closest limit is the one reported, but the least headroom is what can be spared.
    if (headroom < s->headroom_bytes) {
        s->headroom_bytes = headroom;
        s->near_limit_bytes = limit;
    }
    if (!s->of[kind].limit_bytes ||
        is_closer(used, limit, s->of[kind].used_bytes, s->of[kind].limit_bytes)) {
        s->of[kind].limit_bytes = limit;
        s->of[kind].used_bytes = used;
    }
    if (s->limit_bytes != PRESSURE_UNLIMITED &&
        !is_closer(used, limit, s->used_bytes, s->limit_bytes))
        return;
    s->kind = kind;
    s->limit_bytes = limit;
    s->used_bytes = used;
    s->raw_bytes = raw;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void read_ram(struct sample_source *s, const struct pressure_options *o, uint64_t now)
{
    if (s->has_ram && !s->ram_binds && now - s->ram_ms < RAM_AGE_MS)
        return;
    s->has_ram = proc_read_ram(o->root, &s->ram) == 0;
    s->ram_ms = now;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

// Between two full readings, the memory of others is what has come since and is not ours.
static bool still_alone(const struct sample_source *src, const struct pressure_options *o,
                        struct pressure_sample *s)
{
    struct proc_rss rss;
    if (!src->full.alone || proc_read_rss(o->root, &rss) != 0)
        return false;
    s->not_ours_bytes = less(s->used_bytes, rss.anon_bytes);
    return src->others_bytes + less(s->not_ours_bytes, src->not_ours_bytes) < ALONE_BYTES;
}

static bool is_unchanged(struct sample_source *src, uint64_t now)
{
    if (now - src->unchanged_ms < UNCHANGED_AGE_MS)
        return true;
    src->unchanged_ms = now;
    return cgroup_unchanged(&src->cgroup);
}

// Only the usage that counted last time.
static bool take_short(struct sample_source *src, const struct pressure_options *o, uint64_t now,
                       struct pressure_sample *out)
{
    uint64_t raw, used;
    if (!src->may_shorten || now - src->full_ms >= FULL_AGE_MS || !is_unchanged(src, now) ||
        cgroup_read_again(&src->cgroup, &raw, &used) != 0)
        return false;
    *out = src->full;
    out->raw_bytes = raw;
    out->used_bytes = out->of[out->kind].used_bytes = used;
    out->alone = still_alone(src, o, out);
    out->headroom_bytes = out->limit_bytes > used ? out->limit_bytes - used : 0;
    return true;
}

static void take_full(struct sample_source *src, const struct pressure_options *o, uint64_t now,
                      struct pressure_sample *out)
{
    bool ask_rss = o->source != PRESSURE_USAGE_CGROUP, ask_cgroup = o->source != PRESSURE_USAGE_RSS;
    bool want_own = o->limit_bytes && o->source == PRESSURE_USAGE_CGROUP;
    struct pressure_sample s = {.limit_bytes = PRESSURE_UNLIMITED,
                                .headroom_bytes = PRESSURE_UNLIMITED};
    struct proc_rss rss = {0, 0};
    struct cgroup_reading cg;

    proc_read_rss(o->root, &rss);
    s.rss_bytes = rss.rss_bytes;
    // What counts if the source is the cgroup alone is not ours to add to.
    uint64_t anon = ask_rss ? rss.anon_bytes : 0;

    bool has_cgroup = cgroup_read(&src->cgroup, want_own, now, &cg) == 0;
    if (has_cgroup && cg.found) {
        offer(&s, cg.kind, cg.limit_bytes, max64(ask_cgroup ? cg.used_bytes : 0, anon),
              cg.raw_bytes);
        if (ask_rss)
            offer(&s, cg.kind, cg.lowest_bytes, anon, anon);
    }
    if (o->limit_bytes) {
        offer(&s, PRESSURE_LIMIT_OPTION, o->limit_bytes, rss.anon_bytes, rss.anon_bytes);
        // The working set of a cgroup without a limit is that of a whole login session, or host.
        if (has_cgroup && want_own)
            offer(&s, PRESSURE_LIMIT_OPTION, o->limit_bytes, cg.own_used_bytes, cg.own_raw_bytes);
        else if (has_cgroup && cg.found && ask_cgroup)
            offer(&s, PRESSURE_LIMIT_OPTION, min64(o->limit_bytes, cg.limit_bytes), cg.used_bytes,
                  cg.raw_bytes);
    }
    offer(&s, PRESSURE_LIMIT_RLIMIT, proc_rlimit(), rss.anon_bytes, rss.anon_bytes);

    read_ram(src, o, now);
    if (src->has_ram) {
        uint64_t taken = src->ram.total_bytes - src->ram.available_bytes;
        offer(&s, PRESSURE_LIMIT_RAM, src->ram.total_bytes, max64(ask_cgroup ? taken : 0, anon),
              taken);
    }
    src->ram_binds = s.kind == PRESSURE_LIMIT_RAM;
    // Where RSS counts for more than the cgroup says, or another limit is short, read all of it.
    src->may_shorten = has_cgroup && cg.found && s.limit_bytes == cg.limit_bytes &&
                       s.used_bytes == cg.used_bytes && ask_cgroup &&
                       s.headroom_bytes == s.limit_bytes - min64(s.used_bytes, s.limit_bytes);
    if (src->may_shorten) {
        src->others_bytes = less(cg.anon_bytes, rss.anon_bytes);
        src->not_ours_bytes = s.not_ours_bytes = less(s.used_bytes, rss.anon_bytes);
        s.alone = src->others_bytes < ALONE_BYTES;
    }
    src->full = s;
    src->full_ms = src->unchanged_ms = now;
    *out = s;
}

bool sample_take(struct sample_source *src, const struct pressure_options *o, uint64_t now,
                 struct pressure_sample *out)
{
    unsigned before = text_without_descriptor();

    if (!take_short(src, o, now, out))
        take_full(src, o, now, out);
    if (text_without_descriptor() == before)
        return true;
    // What was not found may be there: the next one looks at once.
    src->may_shorten = false;
    src->cgroup.next_find_ms = now;
    return false;
}
