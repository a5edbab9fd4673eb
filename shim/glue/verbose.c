#include "shim/glue/verbose.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "pool/region/remap.h"
#include "pressure/usage/sample.h"
#include "shim/base/log.h"
#include "shim/clock.h"
#include "shim/glue/exit_report.h"

enum { PART = 200, SIZE = 24 };

static const char *size_of(char out[SIZE], uint64_t bytes)
{
    if (bytes == PRESSURE_UNLIMITED)
        log_format(out, SIZE, "all");
    else if (bytes < 10 << 20)
        log_format(out, SIZE, "%lu KiB", bytes >> 10);
    else
        log_format(out, SIZE, "%lu MiB", bytes >> 20);
    return out;
}

// The limit that leaves least room, as the watchdog will see it. Nothing is remembered: the first
// evaluation is still to come. Returns the limit.
static uint64_t limit_text(char out[PART], const struct config *c)
{
    static struct sample_source source;
    const struct pressure_options *o = evaluate_options();
    struct pressure_sample s;
    char size[SIZE];

    if (!c->watchdog || !o) {
        log_format(out, PART, "watchdog off");
        return PRESSURE_UNLIMITED;
    }
    sample_init(&source, o);
    sample_take(&source, o, clock_now_ms(), &s);
    uint64_t limit = pressure_near_limit(&s);
    const char *from = limit == o->limit_bytes  ? pressure_limit_name(PRESSURE_LIMIT_OPTION)
                       : limit == s.limit_bytes ? pressure_limit_name(s.kind)
                                                : "cgroup";
    if (limit == PRESSURE_UNLIMITED)
        log_format(out, PART, "no limit found");
    else
        log_format(out, PART, "limit %s (%s), high from %u %%", size_of(size, limit), from,
                   o->high_percent);
    return limit;
}

static void pools_text(char out[PART], const struct config *c, const struct verbose_pools *pools,
                       uint64_t max_bytes)
{
    char bound[SIZE], limit[SIZE];

    size_t used = log_format(out, PART, pools->up ? "on, up to %s in buckets " : "off",
                             size_of(limit, max_bytes));
    for (unsigned b = 0; pools->up && b < c->bucket_count; b++) {
        report_size(bound, sizeof bound, c->bucket[b].bound_bytes);
        if (c->bucket[b].limit_follows)
            log_format(limit, sizeof limit, "%lu+", (uint64_t)c->bucket[b].limit);
        else if (c->bucket[b].limit_is_bytes)
            report_size(limit, sizeof limit, c->bucket[b].limit);
        else
            log_format(limit, sizeof limit, "%lu", (uint64_t)c->bucket[b].limit);
        used += log_format(out + used, PART - used, "%s%s:%s", b ? "," : "", bound, limit);
    }
}

// Without pools nothing has tried it.
static const char *membarrier_text(const struct verbose_pools *pools)
{
    if (!pools->up)
        return "";
    return pools->can_drain ? "; membarrier yes" : "; membarrier no";
}

void verbose_started(const struct config *c, const struct verbose_pools *pools)
{
    static const char *const thp[] = {[CONFIG_THP_DEFAULT] = "default",
                                      [CONFIG_THP_MADVISE] = "madvise",
                                      [CONFIG_THP_NEVER] = "never"};
    char limit[PART], text[PART];
    int saved = errno;

    uint64_t max_bytes = limit_text(limit, c) / 8; // see automatic_max_bytes() in init.c
    if (c->pool_max_bytes || pools->max_bytes < max_bytes)
        max_bytes = pools->max_bytes;
    pools_text(text, c, pools, max_bytes);
    log_line(LOG_INFO,
             "version " TIDEPOOL_VERSION ": %s; pools %s%s, page moves %s, huge pages %s, "
             "sampling %s, metrics %s",
             limit, text, membarrier_text(pools), remap_usable() ? "yes" : "no", thp[c->thp],
             c->sample_bytes ? "on" : "off", c->prom_dir ? c->prom_dir : "off");
    errno = saved;
}

void verbose_level(const struct pressure_options *o, enum pressure_level to,
                   const struct pressure_sample *s)
{
    char used[SIZE], begin[SIZE], left[SIZE], held[SIZE], rss[SIZE];

    log_line(LOG_DETAIL,
             "level %s: %s used, high begins at %s and critical at %s; %s free here, RSS %s",
             pressure_level_name(to), size_of(used, s->used_bytes),
             size_of(begin, pressure_watermark(o, PRESSURE_HIGH, s->limit_bytes)),
             size_of(left, pressure_watermark(o, PRESSURE_CRITICAL, s->limit_bytes)),
             size_of(held, s->held_bytes), size_of(rss, s->rss_bytes));
}

static const char *cause_name(enum pressure_cause cause)
{
    static const char *const names[PRESSURE_CAUSES] = {
        [PRESSURE_CAUSE_WATCHDOG] = "watchdog",
        [PRESSURE_CAUSE_ASSIST] = "growing thread",
        [PRESSURE_CAUSE_API] = "call",
    };
    return names[cause];
}

void verbose_reclaimed(const struct pressure_reclaim *r)
{
    char wanted[SIZE], given[SIZE], before[SIZE], after[SIZE], limit[SIZE];
    uint64_t want = r->held_bytes > r->keep_bytes ? r->held_bytes - r->keep_bytes : 0;

    // Most find nothing where all is live.
    enum log_kind kind = want < 1024 && !r->freed_bytes ? LOG_DEBUG : LOG_DETAIL;
    log_line(kind,
             "reclaim by %s at %s: %s; wanted %s, gave back %s in %lu us; usage %s, then %s, of %s",
             cause_name(r->cause), pressure_level_name(r->level), pressure_reason_text(r->why),
             size_of(wanted, want), size_of(given, r->freed_bytes), r->took_us,
             size_of(before, r->used_bytes), size_of(after, r->used_after_bytes),
             size_of(limit, r->limit_bytes));
}

void verbose_evaluated(enum pressure_cause cause, const struct pressure_action *a,
                       const struct pressure_sample *s)
{
    char used[SIZE], held[SIZE], keep[SIZE], left[SIZE];

    log_line(LOG_DEBUG,
             "evaluation by %s: %s, used %s, left %s, free here %s, may keep %s, next in %u ms",
             cause_name(cause), pressure_level_name(a->level), size_of(used, s->used_bytes),
             size_of(left, s->headroom_bytes), size_of(held, s->held_bytes),
             size_of(keep, a->keep_bytes), a->next_evaluation_ms);
}
