#include "shim/exporter.h"

#include "export/metrics.h"
#include "shim/heap.h"

static void misused(uint64_t count[METRICS_MISUSES])
{
    count[METRICS_DOUBLE_FREE] = atomic_load_explicit(&heap_double_frees, memory_order_relaxed);
    count[METRICS_INVALID_FREE] = atomic_load_explicit(&heap_invalid_frees, memory_order_relaxed);
}

void exporter_init(const struct config *c)
{
    if (c->prom_dir)
        metrics_init(&(struct metrics_options){.labels = c->labels, .misused = misused});
}

void exporter_child(void)
{
    metrics_child();
}
