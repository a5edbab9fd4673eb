#include "shim/glue/prometheus.h"

#include "export/control.h"
#include "export/metrics.h"
#include "export/textfile/textfile.h"
#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "shim/base/log.h"
#include "shim/clock.h"
#include "shim/kernel.h"
#include "shim/profile/dump.h"
#include "shim/profile/misuse.h"
#include "shim/profile/sampling.h"

static struct {
    bool on, metrics;
    const char *labels;
    uint64_t evaluate_min_bytes;
    bool seen_growth; // by the thread only
} exporter;

static void misused(uint64_t count[METRICS_MISUSES])
{
    count[METRICS_DOUBLE_FREE] = misuse_count(MISUSE_DOUBLE_FREE);
    count[METRICS_INVALID_FREE] = misuse_count(MISUSE_INVALID_FREE);
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
    watchdog_thread_want_later();
}

static void start_metrics(void)
{
    if (exporter.metrics)
        return;
    exporter.metrics = true;
    metrics_init(&(struct metrics_options){
        .labels = exporter.labels, .misused = misused, .sampled = sampled});
}

// "stats" over the control channel: every number, for tidepool top.
static void answer(int fd, const char *argument)
{
    struct metrics m;

    (void)argument;
    start_metrics();
    // Past our own mmap(): this is no mapping of the program's.
    char *text = kernel_map(METRICS_TEXT_MAX, 0);
    size_t length = text && metrics_read(&m, true) ? metrics_render(&m, text, METRICS_TEXT_MAX) : 0;
    if (!length)
        control_error(fd, "no figures now");
    else if (control_ok(fd))
        control_send(fd, text, length);
    if (text)
        kernel_unmap(text, METRICS_TEXT_MAX);
}

void exporter_init(const struct config *c)
{
    exporter.labels = c->labels;
    control_register("stats", answer);
    if (!c->prom_dir)
        return;
    exporter.on = true;
    exporter.evaluate_min_bytes = c->evaluate_min_bytes;
    start_metrics();
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
    textfile_exit();
}

void exporter_child(void)
{
    metrics_child();
    if (!exporter.on)
        return;
    textfile_postfork_child(clock_now_ms());
    begin();
}
