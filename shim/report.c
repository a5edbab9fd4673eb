#include "shim/report.h"

#include <inttypes.h>

#include "pool/pool.h"
#include "shim/heap.h"
#include "shim/log.h"

// "64K", "1M", or plain bytes where they are no whole multiple.
static void size_text(char *out, size_t length, uint64_t bytes)
{
    if (bytes >> 20 && bytes % (1 << 20) == 0)
        log_format(out, length, "%luM", bytes >> 20);
    else if (bytes >> 10 && bytes % (1 << 10) == 0)
        log_format(out, length, "%luK", bytes >> 10);
    else
        log_format(out, length, "%lu", bytes);
}

void report_stats(void)
{
    struct pool_bucket_stats stats[CREDIT_BUCKETS_MAX];
    unsigned buckets = pool_stats(stats);

    for (unsigned b = 0; b < buckets; b++) {
        const struct pool_bucket_stats *s = &stats[b];
        uint64_t requests = s->created + s->reused;
        unsigned mille = requests ? (unsigned)(s->reused * 1000 / requests) : 0;
        char bound[24], limit[24], ratio[8] = "0.000";
        size_text(bound, sizeof bound, s->bound_bytes);
        if (s->limit_is_bytes)
            size_text(limit, sizeof limit, s->limit);
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
    if (heap_double_frees || heap_invalid_frees)
        log_line(LOG_STATS, "double_frees %lu invalid_frees %lu", (uint64_t)heap_double_frees,
                 (uint64_t)heap_invalid_frees);
}
