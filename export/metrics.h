// metrics - every number that tidepool tells, at one instant, and all of them as Prometheus' text.
//
// A reading is a struct; the families (name, type, HELP, where in the struct) are one table in
// families.c. The text file and the answer to the command "stats" come from here; tidepool_stats()
// asks the pools itself. No allocation, no stdio. One lock of its own, held while numbers are read:
// some 20 us, 50 with 200 threads, 300 where mapped files are recorded, whose pages are sampled.
//
// Counters only grow, from one reading to the next, whatever other threads do meanwhile: the source
// may be read a little late, the reading never falls. In a child of fork() they begin at zero,
// where metrics_init() was called before; in one that calls it itself they count what the parent
// did, too. Within a reading allocations = created + reused and held = live + free, exactly.
//
// A module that comes later adds its numbers to struct metrics (counters: to struct
// metrics_counters), fills them in metrics_read() and gets a row in families.c.
#ifndef TIDEPOOL_EXPORT_METRICS_H
#define TIDEPOOL_EXPORT_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/identity.h"
#include "mfile/mfile.h"
#include "pool/common/quota.h"
#include "pressure/stats_snapshot.h"

// Room for all families with 16 buckets and the longest labels: see the unit test.
#define METRICS_TEXT_MAX ((size_t)768 << 10)

enum metrics_dump { METRICS_DUMP_WRITTEN, METRICS_DUMP_FAILED, METRICS_DUMPS };
enum metrics_misuse { METRICS_DOUBLE_FREE, METRICS_INVALID_FREE, METRICS_MISUSES };

// Nothing but uint64_t that only grow: they are treated as an array.
struct metrics_counters {
    struct metrics_bucket_counters {
        uint64_t created, reused, freed, released, drained, overflows;
    } bucket[QUOTA_BUCKETS_MAX];
    uint64_t transitions[PRESSURE_LEVELS], level_ms[PRESSURE_LEVELS];
    uint64_t reclaims[PRESSURE_CAUSES], reclaimed_bytes[PRESSURE_CAUSES];
    uint64_t reclaim_took[PRESSURE_HISTOGRAM], reclaim_us; // each range by itself
    uint64_t evaluations, late_evaluations, direct_evaluations, refused, moved_bytes;
    uint64_t misused[METRICS_MISUSES];
    uint64_t samples, samples_dropped, dumps[METRICS_DUMPS];
    uint64_t advised[ADVICES][ADVICE_RESULTS], lazily_freed_bytes;
};

struct metrics_bucket {
    uint64_t bound_bytes;
    uint64_t allocations; // created + reused
    uint64_t reuse_micro; // reused / allocations, millionths
    uint64_t free_blocks, free_bytes, live_blocks, live_bytes, slack_bytes;
    uint64_t held_blocks, held_bytes; // live + free
    uint64_t limit;
    bool limit_is_bytes;
};

struct metrics {
    struct identity who;
    char comm[16];
    const char *labels; // the user's, escaped; "" without
    struct metrics_counters count;

    unsigned buckets; // 0 without pools
    struct metrics_bucket bucket[QUOTA_BUCKETS_MAX];
    uint64_t pool_max_bytes, cached_threads;

    bool watched; // there was an evaluation: else what is below, to the blank line
    enum pressure_level level;
    uint64_t usage_micro, usage_bytes, limit_bytes, resident_bytes; // UINT64_MAX: no limit
    uint64_t outside_bytes;                                         // see outside.h
    uint64_t purged_unix_ms;                                        // 0: never
    uint64_t page_moves; // 1 where free pages may move, else 0

    bool sampled; // call sites are; then the counters of samples and dumps are told, too
    struct metrics_samples {
        uint64_t live, live_bytes, table_bytes; // bytes live: the estimate of all blocks
    } samples;
    bool files_known; // there is a table of mapped files
    struct metrics_files {
        uint64_t mappings[MFILE_KINDS], bytes[MFILE_KINDS], resident_bytes[MFILE_KINDS];
    } files;

    bool jemalloc_known;
    struct metrics_jemalloc {
        uint64_t allocated, active, resident, mapped, retained, dirty, metadata; // bytes
    } jemalloc;
};

struct metrics_options {
    const char *labels; // NULL, or text that labels_parse() takes
    void (*misused)(uint64_t count[METRICS_MISUSES]);
    void (*sampled)(struct metrics *m); // fills in what is known of call sites; NULL for nothing
};

// Once, before anything else here; the labels must stay valid. Reads nothing yet.
void metrics_init(const struct metrics_options *options);

// Everything at this instant; jemalloc's own figures at the price of locking each arena. With
// `ask_jemalloc` false they are those of the last reading, for callers that may have been
// interrupted inside jemalloc. False when another reading is stuck; then *out is undefined.
bool metrics_read(struct metrics *out, bool ask_jemalloc);

// A reading as text with a final newline; its length, 0 when it does not fit.
size_t metrics_render(const struct metrics *m, char *buf, size_t size);

// In a child of fork(), while it has one thread: a new process, and counters begin anew. Costs some
// us where metrics_init() was called, else nothing.
void metrics_child(void);

#endif
