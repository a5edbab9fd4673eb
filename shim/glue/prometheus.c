#include "shim/glue/prometheus.h"

#include "export/metrics.h"
#include "export/textfile/textfile.h"
#include "shim/base/log.h"
#include "shim/clock.h"
#include "shim/heap.h"
#include "shim/lowmem/watchdog.h"
#include "shim/profile/dump.h"
#include "shim/profile/sampling.h"

static struct {
    bool on, metrics;
    const char *labels;
    uint64_t evaluate_min_bytes;
    bool seen_growth; // by the thread only
} exporter;

static void misused(uint64_t count[METRICS_MISUSES])
{
    count[METRICS_DOUBLE_FREE] = atomic_load_explicit(&heap_double_frees, memory_order_relaxed);
    count[METRICS_INVALID_FREE] = atomic_load_explicit(&heap_invalid_frees, memory_order_relaxed);
}

static void sampled(struct metrics *m)
{
    struct sampling_stats s;

    sampling_stats(&s);
    m->sampled = s.interval_bytes > 0;
    m->count.samples = s.samples;
    m->count.samples_dropped = s.dropped;
    m->count.dumps[METRICS_DUMP_WRITTEN] = dump_written();
    m->count.dumps[METRICS_DUMP_FAILED] = dump_failed();
    m->samples = (struct metrics_samples){s.live, s.live_bytes, s.table_bytes};
}

static void log_trouble(const char *text)
{
    log_line(LOG_FEATURE, "%s", text);
}

static void begin(void)
{
    exporter.seen_growth = false;
    watchdog_want_thread_later();
}

void exporter_metrics(void)
{
    if (exporter.metrics)
        return;
    exporter.metrics = true;
    metrics_init(&(struct metrics_options){
        .labels = exporter.labels, .misused = misused, .sampled = sampled});
}

void exporter_init(const struct config *c)
{
    exporter.labels = c->labels;
    if (!c->prom_dir)
        return;
    exporter.on = true;
    exporter.evaluate_min_bytes = c->evaluate_min_bytes;
    exporter_metrics();
    textfile_init(&(struct textfile_options){.dir = c->prom_dir,
                                             .interval_ms = c->prom_interval_ms,
                                             .keep = c->prom_keep,
                                             .log = log_trouble},
                  clock_now_ms());
    begin();
}

static bool has_grown(void)
{
    return atomic_load_explicit(&direct_grown.total, memory_order_relaxed) >=
           exporter.evaluate_min_bytes;
}

void exporter_tick(uint64_t ms)
{
    if (!exporter.seen_growth && has_grown()) {
        exporter.seen_growth = true;
        textfile_worthwhile();
    }
    textfile_tick(ms);
}

void exporter_level_changed(void)
{
    textfile_write(clock_now_ms());
}

void exporter_exit(void)
{
    if (exporter.on && has_grown())
        textfile_worthwhile();
    textfile_exit(clock_now_ms());
}

void exporter_prefork(void)
{
    textfile_prefork();
}

void exporter_parent(void)
{
    textfile_postfork_parent();
}

void exporter_child(void)
{
    metrics_child();
    if (!exporter.on)
        return;
    textfile_postfork_child(clock_now_ms());
    begin();
}
