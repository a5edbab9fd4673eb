// config - TIDEPOOL_* from the environment, once, at the start: text in, numbers out.
//
// Pure: no getenv, no malloc, no locale, no static state, so that it runs before any constructor
// and in tests alike. The caller hands over the environment (an empty one where the process is
// set-uid) and a sink for the lines that go to the user. One table in table.c holds name, form,
// default and help of each variable; the loader, the launcher's options and its --help all read
// that table.
//
// A value that does not parse costs one line and leaves the default, and an unknown name a line;
// nothing here ends the process.
#ifndef TIDEPOOL_SHIM_CONFIG_CONFIG_H
#define TIDEPOOL_SHIM_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_BUCKETS_MAX = 16,
    CONFIG_WARMUP_MAX = 16,
    // What a process leaves with when TIDEPOOL_STRICT is set and a setting is wrong:
    // EX_CONFIG of sysexits.h, which service managers show by that name.
    CONFIG_EXIT_STATUS = 78,
    CONFIG_QUIET = -1, // in place of a number of TIDEPOOL_VERBOSE
};

enum config_check { CONFIG_CHECK_ABORT, CONFIG_CHECK_WARN, CONFIG_CHECK_OFF };
enum config_thp { CONFIG_THP_DEFAULT, CONFIG_THP_MADVISE, CONFIG_THP_NEVER };
enum config_unwind { CONFIG_UNWIND_BUILTIN, CONFIG_UNWIND_LIBUNWIND, CONFIG_UNWIND_FP };
enum config_source { CONFIG_SOURCE_MAX, CONFIG_SOURCE_RSS, CONFIG_SOURCE_CGROUP };

// Requests up to bound_bytes and above the bound before it.
struct config_bucket {
    size_t bound_bytes;
    uint64_t limit;      // free blocks kept, over all caches; 0 sends the range to jemalloc
    bool limit_is_bytes; // the limit counts bytes, not blocks
    bool limit_follows;  // demand, and starts there: no number was set
};

struct config_warmup {
    size_t size_bytes;
    uint32_t count;
};

struct config {
    // pool
    struct config_bucket bucket[CONFIG_BUCKETS_MAX];
    unsigned bucket_count;   // at least 1; bounds ascend, within 1K..1M
    uint64_t pool_max_bytes; // 0: automatic, a fraction of the memory limit
    struct config_warmup warmup[CONFIG_WARMUP_MAX];
    unsigned warmup_count;
    enum config_check on_misuse;
    enum config_thp thp;

    // the process
    int verbose; // CONFIG_QUIET, 0 problems only .. 3
    bool stats_at_exit;
    bool strict;
    bool disable;            // also set by TIDEPOOL_ONLY and TIDEPOOL_EXCEPT
    const char *disabled_by; // the name of that variable; NULL: by none
    bool control;            // a socket for tools, export/control.h
    bool use_private;        // what of jemalloc is not its public interface
    bool deepbind_keep;      // leave RTLD_DEEPBIND to dlopen(), see dlopen.c
    bool no_children;        // take the library out of LD_PRELOAD at start

    // pressure
    bool watchdog;
    uint64_t limit_bytes; // 0: detect
    enum config_source source;
    double moderate_ratio; // moderate < high < critical <= 1
    double high_ratio;
    double critical_ratio;
    double hysteresis_ratio;
    uint64_t headroom_bytes; // 0: ratios alone
    unsigned interval_ms;
    unsigned cooldown_ms;
    uint64_t evaluate_min_bytes;
    bool on_limit_enomem;
    uint64_t on_limit_size_bytes;

    // Strings point into the environment that was given; NULL where unset.
    const char *prom_dir;
    unsigned prom_interval_ms;
    bool prom_keep;
    const char *labels;
    const char *mfile;
    bool ksm;
    uint64_t sample_bytes; // 0: off
    bool sample_dump_at_exit;
    const char *sample_dir;
    enum config_unwind sample_unwind;
};

// Takes one line for the user: no prefix, no newline, printable whatever the environment held.
// Valid during the call only.
struct config_sink {
    void (*line)(void *arg, const char *text);
    void *arg;
};

// Fills *out from env, which ends with NULL. exe_name is the executable's path or name, NULL where
// unknown (then TIDEPOOL_ONLY cannot match). True: TIDEPOOL_STRICT is set and a value or a
// name was wrong, so the caller should leave with CONFIG_EXIT_STATUS; lines name no default then.
// Where the process is disabled, by name or by TIDEPOOL_DISABLE, nothing is said and the answer is
// false.
bool config_load(struct config *out, char *const *env, const char *exe_name,
                 const struct config_sink *sink);

// A row of the table, as far as others need it.
struct config_option {
    const char *name;     // TIDEPOOL_POOL_MAX; the launcher's option is --pool-max
    const char *form;     // "a size from 1M up, or auto": follows "expected"
    const char *fallback; // the default as one would write it; NULL: unset
    const char *flag;     // what the bare option (--strict) stands for; NULL: it needs a value
    const char *help;     // a few words
    const char *group;    // heading in lists
    bool common;          // worth a place in the short help
    const char *old;      // a name that it had before, and still answers to; NULL: none
};

// The i-th row of the table; false past its end.
bool config_option_at(unsigned i, struct config_option *out);

// Would the loader take this value? (Each alone; the order of watermarks is not checked.)
bool config_option_accepts(unsigned i, const char *value);

// The variable that was meant by a name without its TIDEPOOL_ (POOL_MAXX, POOL); NULL where that
// takes more slips than a third of the variable's letters.
const char *config_option_meant(const char *name, size_t length);

// HYSTERESIS, MODERATE, HIGH and CRITICAL must rise in this order.
struct config_clash {
    const char *name[2], *value[2]; // neighbours, the one that should be less first
};

// The first two that do not, in this environment and its preset; false where all do. Values that do
// not parse count as the defaults.
bool config_marks_clash(struct config_clash *out, char *const *env);

#endif
