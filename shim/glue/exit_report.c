#include "shim/glue/exit_report.h"

#include <inttypes.h>

#include "pool/jemalloc_private/page_hooks.h"
#include "pool/pool.h"
#include "pool/region/remap.h"
#include "pressure/stats_snapshot.h"
#include "shim/base/log.h"
#include "shim/profile/dump.h"
#include "shim/profile/misuse.h"
#include "shim/profile/sampling.h"

void report_size(char *out, size_t length, uint64_t bytes)
{
    if (bytes >> 20 && bytes % (1 << 20) == 0)
        log_format(out, length, "%luM", bytes >> 20);
    else if (bytes >> 10 && bytes % (1 << 10) == 0)
        log_format(out, length, "%luK", bytes >> 10);
    else
        log_format(out, length, "%lu", bytes);
}

static void report_pressure(void)
{
    struct pressure_stats p;

    pressure_stats(&p);
    if (!p.evaluations)
        return;
    log_line(
        LOG_STATS,
        "pressure: level %s used_bytes %lu limit_bytes %lu evaluations %lu by_growth %lu limit %s",
        pressure_level_name(p.level), p.sample.used_bytes, p.sample.limit_bytes, p.evaluations,
        p.direct_evaluations, pressure_limit_name(p.sample.kind));
    log_line(LOG_STATS,
             "reclaims: watchdog %lu assist %lu api %lu returned_bytes %lu took_us %lu refused %lu",
             p.reclaims[PRESSURE_CAUSE_WATCHDOG], p.reclaims[PRESSURE_CAUSE_ASSIST],
             p.reclaims[PRESSURE_CAUSE_API],
             p.freed_bytes[PRESSURE_CAUSE_WATCHDOG] + p.freed_bytes[PRESSURE_CAUSE_ASSIST] +
                 p.freed_bytes[PRESSURE_CAUSE_API],
             p.reclaim_us, p.refused);
    log_line(LOG_STATS, "levels: normal_ms %lu moderate_ms %lu high_ms %lu critical_ms %lu",
             p.level_ms[0], p.level_ms[1], p.level_ms[2], p.level_ms[3]);
    log_line(LOG_STATS, "pages: taken_bytes %lu returned_bytes %lu moved_bytes %lu", pages_taken(),
             pages_returned(), remap_bytes());
}

static void report_samples(void)
{
    struct sampling_stats s;

    sampling_stats(&s);
    if (s.interval_bytes)
        log_line(LOG_STATS,
                 "samples: interval_bytes %lu taken %lu dropped %lu live %lu stacks %lu "
                 "live_bytes %lu table_bytes %lu dumps %lu failed %lu",
                 s.interval_bytes, s.samples, s.dropped, s.live, s.stacks, s.live_bytes,
                 s.table_bytes, dump_written(), dump_failed());
}

void report_stats(void)
{
    struct pool_bucket_stats stats[QUOTA_BUCKETS_MAX];
    unsigned buckets = pool_stats(stats);

    for (unsigned b = 0; b < buckets; b++) {
        const struct pool_bucket_stats *s = &stats[b];
        uint64_t requests = s->created + s->reused;
        unsigned mille = requests ? (unsigned)(s->reused * 1000 / requests) : 0;
        char bound[24], limit[24], ratio[8] = "0.000";
        report_size(bound, sizeof bound, s->bound_bytes);
        if (s->limit_is_bytes)
            report_size(limit, sizeof limit, s->limit);
        else
            log_format(limit, sizeof limit, "%lu", s->limit);
        ratio[0] = (char)('0' + mille / 1000);
        ratio[2] = (char)('0' + mille / 100 % 10);
        ratio[3] = (char)('0' + mille / 10 % 10);
        ratio[4] = (char)('0' + mille % 10);
        log_line(LOG_STATS,
                 "bucket %s: created %lu reused %lu reuse_ratio %s free %lu limit %s live %lu "
                 "live_bytes %lu",
                 bound, s->created, s->reused, ratio, s->free_blocks, limit, s->live_blocks,
                 s->live_bytes);
    }
    report_pressure();
    report_samples();
    if (misuse_count(MISUSE_DOUBLE_FREE) || misuse_count(MISUSE_INVALID_FREE))
        log_line(LOG_STATS, "double_frees %lu invalid_frees %lu", misuse_count(MISUSE_DOUBLE_FREE),
                 misuse_count(MISUSE_INVALID_FREE));
}
