#include "shim/glue/prometheus.h"

#include <sys/single_threaded.h>
#include <time.h>

#include "export/metrics.h"
#include "export/textfile/textfile.h"
#include "shim/base/log.h"
#include "shim/clock.h"
#include "shim/heap.h"
#include "shim/lowmem/watchdog.h"
#include "shim/profile/dump.h"
#include "shim/profile/sampling.h"

// What `ls` does not live for, and what the start of a service takes, while it still allocates
// anew.
#define PATIENCE_MS 1000

_Atomic bool exporter_waiting;

static struct {
    bool on, metrics;
    const char *labels;
    uint64_t patience_ms, evaluate_min_bytes;
    uint64_t start_ms; // CLOCK_MONOTONIC_COARSE
    bool seen_growth;  // by the thread only
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
    exporter.start_ms = clock_ms(CLOCK_MONOTONIC_COARSE);
    exporter.seen_growth = false;
    atomic_store_explicit(&exporter_waiting, true, memory_order_relaxed);
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
    exporter.patience_ms = c->prom_interval_ms < PATIENCE_MS ? c->prom_interval_ms : PATIENCE_MS;
    exporter.evaluate_min_bytes = c->evaluate_min_bytes;
    exporter_metrics();
    textfile_init(&(struct textfile_options){.dir = c->prom_dir,
                                             .interval_ms = c->prom_interval_ms,
                                             .keep = c->prom_keep,
                                             .log = log_trouble},
                  clock_ms(CLOCK_MONOTONIC));
    begin();
}

static bool has_grown(void)
{
    return atomic_load_explicit(&direct_grown.total, memory_order_relaxed) >=
           exporter.evaluate_min_bytes;
}

void exporter_ask_thread(void)
{
    if (__libc_single_threaded && !has_grown() &&
        clock_ms(CLOCK_MONOTONIC_COARSE) - exporter.start_ms < exporter.patience_ms)
        return;
    atomic_store_explicit(&exporter_waiting, false, memory_order_relaxed);
    watchdog_thread_want();
}

void exporter_tick(uint64_t now_ms)
{
    // A thread that we have not asked for is there because there is something to watch.
    if (!exporter.seen_growth &&
        (atomic_exchange_explicit(&exporter_waiting, false, memory_order_relaxed) || has_grown())) {
        exporter.seen_growth = true;
        textfile_worthwhile();
    }
    textfile_tick(now_ms);
}

void exporter_level_changed(void)
{
    textfile_write(clock_ms(CLOCK_MONOTONIC));
}

void exporter_exit(void)
{
    if (exporter.on && has_grown())
        textfile_worthwhile();
    textfile_exit(clock_ms(CLOCK_MONOTONIC));
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
    textfile_postfork_child(clock_ms(CLOCK_MONOTONIC));
    begin();
}
