// families - the table of everything that is told: metrics_render() is a walk over it.
//
// INVARIANT: a HELP text, once released, never changes. node_exporter merges the files of all
// processes, old versions and new, and drops samples of a family whose HELP differs.

#include <assert.h>

#include "export/labels.h"
#include "export/metrics.h"
#include "shim/base.h"

enum type { GAUGE, COUNTER, HISTOGRAM };

struct family {
    const char *name;
    enum type type;
    const char *help;
    // Writes the family's series, if it has any now.
    void (*series)(struct out *o, const struct family *f, const struct metrics *m);
    size_t offset;     // of the (first) value, where `series` asks for it
    unsigned decimals; // the value counts 1/10^decimals of the unit
    size_t only_if;    // of the flag without which there is no series; 0: always
};

static uint64_t value_at(const void *from, size_t offset)
{
    return *(const uint64_t *)((const char *)from + offset);
}

static void one(struct out *o, const struct family *f, const struct metrics *m)
{
    out_series(o, f->name, "", NULL, NULL, value_at(m, f->offset), f->decimals);
}

static void in_bucket(struct out *o, const struct family *f, const struct metrics *m, unsigned b,
                      uint64_t value)
{
    char bound[24];
    struct out text = out_begin(bound, sizeof bound - 1, "");

    out_number(&text, m->bucket[b].bound_bytes);
    *text.at = '\0';
    out_series(o, f->name, "", "bucket", bound, value, f->decimals);
}

// Offsets count from the bucket's struct.
static void bucket_gauge(struct out *o, const struct family *f, const struct metrics *m)
{
    for (unsigned b = 0; b < m->buckets; b++)
        in_bucket(o, f, m, b, value_at(&m->bucket[b], f->offset));
}

static void bucket_counter(struct out *o, const struct family *f, const struct metrics *m)
{
    for (unsigned b = 0; b < m->buckets; b++)
        in_bucket(o, f, m, b, value_at(&m->count.bucket[b], f->offset));
}

static void limit_blocks(struct out *o, const struct family *f, const struct metrics *m)
{
    for (unsigned b = 0; b < m->buckets; b++)
        if (!m->bucket[b].limit_is_bytes)
            in_bucket(o, f, m, b, m->bucket[b].limit);
}

static void limit_bytes(struct out *o, const struct family *f, const struct metrics *m)
{
    for (unsigned b = 0; b < m->buckets; b++)
        if (m->bucket[b].limit_is_bytes)
            in_bucket(o, f, m, b, m->bucket[b].limit);
}

// A series for each of `count` values that stand one behind the other.
static void several(struct out *o, const struct family *f, const struct metrics *m,
                    const char *label, const char *const *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        out_series(o, f->name, "", label, names[i], value_at(m, f->offset + i * sizeof(uint64_t)),
                   f->decimals);
}

static void by_level(struct out *o, const struct family *f, const struct metrics *m)
{
    const char *names[PRESSURE_LEVELS];

    for (unsigned i = 0; i < PRESSURE_LEVELS; i++)
        names[i] = pressure_level_name(i);
    several(o, f, m, "level", names, PRESSURE_LEVELS);
}

static void by_cause(struct out *o, const struct family *f, const struct metrics *m)
{
    static const char *const causes[PRESSURE_CAUSES] = {"watchdog", "assist", "api"};

    several(o, f, m, "cause", causes, PRESSURE_CAUSES);
}

static void by_misuse(struct out *o, const struct family *f, const struct metrics *m)
{
    static const char *const kinds[METRICS_MISUSES] = {"double", "invalid"};

    several(o, f, m, "kind", kinds, METRICS_MISUSES);
}

static void by_result(struct out *o, const struct family *f, const struct metrics *m)
{
    static const char *const results[METRICS_DUMPS] = {"written", "failed"};

    several(o, f, m, "result", results, METRICS_DUMPS);
}

static void by_kind_of_file(struct out *o, const struct family *f, const struct metrics *m)
{
    const char *names[MFILE_KINDS];

    for (unsigned k = 0; k < MFILE_KINDS; k++)
        names[k] = mfile_kind_name(k);
    several(o, f, m, "kind", names, MFILE_KINDS);
}

// One label and its value, quotes and all: the next one goes between them.
static void advised(struct out *o, const struct family *f, const struct metrics *m, unsigned a,
                    unsigned r)
{
    char value[64];
    struct out text = out_begin(value, sizeof value - 1, "");

    out_text(&text, advice_name(a));
    out_text(&text, "\",result=\"");
    out_text(&text, advice_result_name(r));
    *text.at = '\0';
    out_series(o, f->name, "", "hint", value, m->count.advised[a][r], f->decimals);
}

// Advice that was ever given, with all of its results.
static void by_advice(struct out *o, const struct family *f, const struct metrics *m)
{
    for (unsigned a = 0; a < ADVICES; a++) {
        const uint64_t *count = m->count.advised[a];
        if (count[ADVICE_OK] | count[ADVICE_REFUSED] | count[ADVICE_UNSUPPORTED])
            for (unsigned r = 0; r < ADVICE_RESULTS; r++)
                advised(o, f, m, a, r);
    }
}

static void level(struct out *o, const struct family *f, const struct metrics *m)
{
    out_series(o, f->name, "", NULL, NULL, (uint64_t)m->level, 0);
}

// As Prometheus itself writes these numbers: a test holds them against pressure_histogram_us.
static const char *const bounds[PRESSURE_HISTOGRAM] = {
    "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025",
    "0.005", "0.01",   "0.025",   "0.1",    "1",     "+Inf",
};

static void durations(struct out *o, const struct family *f, const struct metrics *m)
{
    uint64_t reclaims = 0;

    for (unsigned i = 0; i < PRESSURE_HISTOGRAM; i++) {
        reclaims += m->count.reclaim_took[i];
        out_series(o, f->name, "_bucket", "le", bounds[i], reclaims, 0);
    }
    out_series(o, f->name, "_sum", NULL, NULL, m->count.reclaim_us, 6);
    out_series(o, f->name, "_count", NULL, NULL, reclaims, 0);
}

static void build_info(struct out *o, const struct family *f, const struct metrics *m)
{
    (void)m;
    out_series(o, f->name, "", "version", TIDEPOOL_VERSION, 1, 0);
}

#define IN(field) .offset = offsetof(struct metrics, field)
#define IN_BUCKET(field) .offset = offsetof(struct metrics_bucket, field)
#define ONLY_IF(flag) .only_if = offsetof(struct metrics, flag)
#define COUNTED(field) .offset = offsetof(struct metrics_bucket_counters, field)

static const struct family families[] = {
    {"tidepool_build_info", GAUGE, "Constant 1; the version of the loaded library.",
     .series = build_info},

    {"tidepool_pool_allocations_total", COUNTER,
     "Requests for memory served by the pools: created plus reused.", .series = bucket_gauge,
     IN_BUCKET(allocations)},
    {"tidepool_pool_created_total", COUNTER,
     "Requests served with a new block, for which jemalloc was asked.", .series = bucket_counter,
     COUNTED(created)},
    {"tidepool_pool_reused_total", COUNTER, "Requests served with a block used before.",
     .series = bucket_counter, COUNTED(reused)},
    {"tidepool_pool_reuse_ratio", GAUGE,
     "Share of requests served with a block used before, since the process started.",
     .series = bucket_gauge, IN_BUCKET(reuse_micro), .decimals = 6},
    {"tidepool_pool_freed_total", COUNTER, "Blocks that the program gave back.",
     .series = bucket_counter, COUNTED(freed)},
    {"tidepool_pool_released_total", COUNTER, "Blocks that the pools gave back to jemalloc.",
     .series = bucket_counter, COUNTED(released)},
    {"tidepool_pool_drained_blocks_total", COUNTER,
     "Blocks taken out of thread caches: by a reclaim, for their age, at the end of a thread.",
     .series = bucket_counter, COUNTED(drained)},
    {"tidepool_pool_limit_overflows_total", COUNTER,
     "Frees that found no room because a limit was reached; the block went back to jemalloc.",
     .series = bucket_counter, COUNTED(overflows)},
    {"tidepool_pool_live_blocks", GAUGE, "Blocks that the program has.", .series = bucket_gauge,
     IN_BUCKET(live_blocks)},
    {"tidepool_pool_live_bytes", GAUGE, "Bytes of the blocks that the program has, slack included.",
     .series = bucket_gauge, IN_BUCKET(live_bytes)},
    {"tidepool_pool_free_blocks", GAUGE, "Blocks kept for reuse.", .series = bucket_gauge,
     IN_BUCKET(free_blocks)},
    {"tidepool_pool_free_bytes", GAUGE, "Bytes of the blocks kept for reuse.",
     .series = bucket_gauge, IN_BUCKET(free_bytes)},
    {"tidepool_pool_held_blocks", GAUGE, "Blocks that came from jemalloc: live plus free.",
     .series = bucket_gauge, IN_BUCKET(held_blocks)},
    {"tidepool_pool_held_bytes", GAUGE,
     "Bytes of the blocks that came from jemalloc: live plus free.", .series = bucket_gauge,
     IN_BUCKET(held_bytes)},
    {"tidepool_pool_slack_bytes", GAUGE,
     "Bytes of live blocks beyond what was asked for, estimated: live blocks times the mean slack "
     "of the latest requests that did not hit a thread cache.",
     .series = bucket_gauge, IN_BUCKET(slack_bytes)},
    {"tidepool_pool_limit_blocks", GAUGE,
     "Most blocks that may be kept for reuse, where the limit is set in blocks.",
     .series = limit_blocks},
    {"tidepool_pool_limit_bytes", GAUGE,
     "Most bytes of blocks that may be kept for reuse, where the limit is set in bytes.",
     .series = limit_bytes},
    {"tidepool_pool_max_bytes", GAUGE,
     "Most bytes of blocks that may be kept for reuse now, over all buckets; lower while memory is "
     "short.",
     .series = one, IN(pool_max_bytes)},
    {"tidepool_threads_cached", GAUGE, "Threads that have a cache of blocks.", .series = one,
     IN(cached_threads)},
    {"tidepool_frees_misused_total", COUNTER,
     "Frees that were refused: of a block that was free already (double), of an address that is no "
     "block (invalid).",
     .series = by_misuse, IN(count.misused)},

    {"tidepool_memory_pressure_level", GAUGE,
     "How short memory is: 0 normal, 1 moderate, 2 high, 3 critical.", .series = level,
     ONLY_IF(watched)},
    {"tidepool_memory_usage_ratio", GAUGE, "Memory used, as a share of the limit.", .series = one,
     ONLY_IF(watched), IN(usage_micro), .decimals = 6},
    {"tidepool_memory_usage_bytes", GAUGE, "Memory used, of what counts against the limit.",
     .series = one, ONLY_IF(watched), IN(usage_bytes)},
    {"tidepool_memory_limit_bytes", GAUGE,
     "The limit that is closest to being hit: the cgroup's, an ancestor's, the machine's memory or "
     "a setting; +Inf where there is none.",
     .series = one, ONLY_IF(watched), IN(limit_bytes)},
    {"tidepool_memory_resident_bytes", GAUGE, "Resident memory of this process.", .series = one,
     ONLY_IF(watched), IN(resident_bytes)},
    {"tidepool_memory_outside_bytes", GAUGE,
     "Anonymous memory of this process that did not come from malloc, an estimate.", .series = one,
     ONLY_IF(watched), IN(outside_bytes)},
    {"tidepool_memory_level_transitions_total", COUNTER, "Changes of level, by the level entered.",
     .series = by_level, ONLY_IF(watched), IN(count.transitions)},
    {"tidepool_memory_level_seconds_total", COUNTER, "Time spent in each level.",
     .series = by_level, ONLY_IF(watched), IN(count.level_ms), .decimals = 3},
    {"tidepool_memory_reclaims_total", COUNTER,
     "Reclaims (caches drained, pages given back), by cause: the watchdog, a thread that was "
     "about to grow (assist), the program (api).",
     .series = by_cause, ONLY_IF(watched), IN(count.reclaims)},
    {"tidepool_memory_reclaimed_bytes_total", COUNTER,
     "Bytes that reclaims gave back to the kernel, by cause.", .series = by_cause, ONLY_IF(watched),
     IN(count.reclaimed_bytes)},
    {"tidepool_memory_reclaim_duration_seconds", HISTOGRAM, "How long reclaims took.",
     .series = durations, ONLY_IF(watched)},
    {"tidepool_memory_last_purge_timestamp_seconds", GAUGE,
     "When the last reclaim ended, in seconds since 1970; 0 before the first.", .series = one,
     ONLY_IF(watched), IN(purged_unix_ms), .decimals = 3},
    {"tidepool_memory_samples_total", COUNTER, "Looks at the memory limit and usage.",
     .series = one, ONLY_IF(watched), IN(count.evaluations)},
    {"tidepool_memory_assist_samples_total", COUNTER,
     "Looks taken by threads that were about to grow; part of all samples.", .series = one,
     ONLY_IF(watched), IN(count.direct_evaluations)},
    {"tidepool_memory_late_samples_total", COUNTER,
     "Looks that came later than planned by over half an interval.", .series = one,
     ONLY_IF(watched), IN(count.late_evaluations)},
    {"tidepool_memory_refused_total", COUNTER,
     "Requests refused with ENOMEM because they would have passed the limit.", .series = one,
     ONLY_IF(watched), IN(count.refused)},
    {"tidepool_memory_page_moves_enabled", GAUGE,
     "1 while free pages may move to where new ones would be taken, 0 while they may not: the "
     "kernel, a limit, locked memory or too many mappings rule it out.",
     .series = one, ONLY_IF(watched), IN(page_moves)},
    {"tidepool_memory_moved_bytes_total", COUNTER,
     "Bytes of free pages that moved to where new ones would have been taken.", .series = one,
     ONLY_IF(watched), IN(count.moved_bytes)},

    {"tidepool_heap_samples_total", COUNTER, "Requests sampled, with their call site.",
     .series = one, ONLY_IF(sampled), IN(count.samples)},
    {"tidepool_heap_samples_dropped_total", COUNTER,
     "Requests that were to be sampled, but served without: no room, or in the middle of another.",
     .series = one, ONLY_IF(sampled), IN(count.samples_dropped)},
    {"tidepool_heap_live_samples", GAUGE, "Sampled blocks that the program has.", .series = one,
     ONLY_IF(sampled), IN(samples.live)},
    {"tidepool_heap_live_bytes", GAUGE,
     "Bytes of all blocks that the program has, as it asked for them, estimated from samples.",
     .series = one, ONLY_IF(sampled), IN(samples.live_bytes)},
    {"tidepool_heap_table_bytes", GAUGE, "Memory for samples and their stacks.", .series = one,
     ONLY_IF(sampled), IN(samples.table_bytes)},
    {"tidepool_heap_dumps_total", COUNTER, "Heap profiles, by what became of them.",
     .series = by_result, ONLY_IF(sampled), IN(count.dumps)},
    {"tidepool_mfile_mappings", GAUGE,
     "Mapped files, by kind: shared (what is written reaches the file), private (it stays with the "
     "process), each writable or readonly.",
     .series = by_kind_of_file, ONLY_IF(files_known), IN(files.mappings)},
    {"tidepool_mfile_mapped_bytes", GAUGE, "Address space of mapped files.",
     .series = by_kind_of_file, ONLY_IF(files_known), IN(files.bytes)},
    {"tidepool_mfile_resident_bytes", GAUGE,
     "Bytes of mapped files that are in memory, for this process or another one; an estimate from "
     "256 samples.",
     .series = by_kind_of_file, ONLY_IF(files_known), IN(files.resident_bytes)},
    {"tidepool_mfile_advice_total", COUNTER,
     "Advice given to the kernel, by what it was and what came of it: ok, refused by what is "
     "mapped "
     "there, unsupported by the kernel.",
     .series = by_advice},
    {"tidepool_mfile_lazily_freed_bytes_total", COUNTER,
     "Resident bytes paged out because memory was short, or offered by "
     "tidepool_mfile_free_lazy().",
     .series = one, ONLY_IF(files_known), IN(count.lazily_freed_bytes)},

    {"tidepool_jemalloc_allocated_bytes", GAUGE,
     "Bytes in jemalloc's allocations; a block of the pools is one, live or free. "
     "Free blocks above 1 MiB that wait for reuse are none.",
     .series = one, ONLY_IF(jemalloc_known), IN(jemalloc.allocated)},
    {"tidepool_jemalloc_active_bytes", GAUGE, "Bytes in pages with allocations of jemalloc's.",
     .series = one, ONLY_IF(jemalloc_known), IN(jemalloc.active)},
    {"tidepool_jemalloc_resident_bytes", GAUGE,
     "Most bytes of jemalloc's that may be resident: active, dirty and metadata.", .series = one,
     ONLY_IF(jemalloc_known), IN(jemalloc.resident)},
    {"tidepool_jemalloc_mapped_bytes", GAUGE, "Bytes in extents that jemalloc has mapped.",
     .series = one, ONLY_IF(jemalloc_known), IN(jemalloc.mapped)},
    {"tidepool_jemalloc_retained_bytes", GAUGE,
     "Bytes of address space that jemalloc keeps without memory behind it.", .series = one,
     ONLY_IF(jemalloc_known), IN(jemalloc.retained)},
    {"tidepool_jemalloc_dirty_bytes", GAUGE,
     "Bytes in unused pages that jemalloc has not given back yet.", .series = one,
     ONLY_IF(jemalloc_known), IN(jemalloc.dirty)},
    {"tidepool_jemalloc_metadata_bytes", GAUGE, "Bytes that jemalloc uses for its bookkeeping.",
     .series = one, ONLY_IF(jemalloc_known), IN(jemalloc.metadata)},
};

// A name and its header line, taken back where no series follows.
static void render_family(struct out *o, const struct family *f, const struct metrics *m)
{
    static const char *const types[] = {"gauge", "counter", "histogram"};
    char *start = o->at, *header_end;

    if (f->only_if && !*((const bool *)m + f->only_if))
        return;
    out_text(o, "# HELP ");
    out_text(o, f->name);
    out_char(o, ' ');
    out_text(o, f->help);
    out_text(o, "\n# TYPE ");
    out_text(o, f->name);
    out_char(o, ' ');
    out_text(o, types[f->type]);
    out_char(o, '\n');
    header_end = o->at;
    f->series(o, f, m);
    if (o->at == header_end)
        o->at = start;
}

size_t metrics_render(const struct metrics *m, char *buf, size_t size)
{
    char labels[LABELS_TEXT_MAX + 128];
    struct out o = out_begin(labels, sizeof labels - 1, "");

    identity_labels(&o, &m->who, m->comm, m->labels);
    *o.at = '\0';
    if (o.full)
        return 0;
    o = out_begin(buf, size, labels);
    for (unsigned i = 0; i < array_len(families); i++)
        render_family(&o, &families[i], m);
    return o.full ? 0 : (size_t)(o.at - buf);
}
