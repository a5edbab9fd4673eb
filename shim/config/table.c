// table - each TIDEPOOL_ variable in one row; see table.h.

#include "shim/config/table.h"

#include <assert.h>
#include <string.h>

#include "export/labels.h"
#include "mfile/mfile.h"
#include "shim/base.h"
#include "shim/config/parse.h"

static const char pool[] = "Pools", process[] = "Process", pressure[] = "Pressure",
                  prom[] = "Prometheus", mfile[] = "Mapped files", sample[] = "Call sites";

struct row {
    const char *group, *name, *fallback, *form, *help;
    bool (*take)(const struct row *row, const char *text, void *field);
    size_t offset;
    // These where the taker asks for them.
    uint64_t min, max; // bytes, ms, thousandths of a percent, or plain
    const char *words;
    // What a value that is not understood means, where not the default: the side that does less.
    const char *unclear;
    // These for the launcher.
    const char *flag;
    bool common;
    // The name that it had before; still taken.
    const char *old;
};

#define K (1ull << 10)
#define M (1ull << 20)
#define SIZE_TOP (1ull << 60)
#define HOUR_MS 3600000u
#define PERCENT 1000u

static bool in_range(const struct row *row, uint64_t n)
{
    return n >= row->min && n <= row->max;
}

static bool whole_size(const struct row *row, const char *text, uint64_t *bytes)
{
    bool unit;
    return scan_size(&text, bytes, &unit) && !*text && in_range(row, *bytes);
}

static bool take_size(const struct row *row, const char *text, void *field)
{
    uint64_t bytes;
    if (!whole_size(row, text, &bytes))
        return false;
    *(uint64_t *)field = bytes;
    return true;
}

static bool take_size_or_auto(const struct row *row, const char *text, void *field)
{
    if (strcmp(text, "auto") != 0)
        return take_size(row, text, field);
    *(uint64_t *)field = 0;
    return true;
}

// Words by pairs, the one for false first.
#define SWITCH_WORDS "off on 0 1 no yes false true n y f t"

static bool take_interval(const struct row *row, const char *text, void *field)
{
    uint64_t bytes = 512 * K;
    int index = parse_word(text, SWITCH_WORDS);
    if (index >= 0 && index % 2 == 0)
        bytes = 0;
    else if (index < 0 && !whole_size(row, text, &bytes))
        return false;
    *(uint64_t *)field = bytes;
    return true;
}

static bool take_verbose(const struct row *row, const char *text, void *field)
{
    uint64_t n;
    bool quiet = parse_word(text, "quiet") == 0;
    if (!quiet && (!scan_number(&text, &n) || *text || !in_range(row, n)))
        return false;
    *(int *)field = quiet ? CONFIG_QUIET : (int)n;
    return true;
}

static bool take_duration(const struct row *row, const char *text, void *field)
{
    uint64_t ms;
    if (!scan_duration(&text, &ms) || *text || !in_range(row, ms))
        return false;
    *(unsigned *)field = (unsigned)ms;
    return true;
}

static bool take_percent(const struct row *row, const char *text, void *field)
{
    uint64_t milli;
    if (!scan_percent(&text, &milli) || *text || !in_range(row, milli))
        return false;
    *(double *)field = (double)milli / 100000.0;
    return true;
}

// Words stand in the order of their enum.
static_assert(sizeof(enum config_check) == sizeof(unsigned), "enums are written as unsigned");
static bool take_word(const struct row *row, const char *text, void *field)
{
    int index = parse_word(text, row->words);
    if (index < 0)
        return false;
    *(unsigned *)field = (unsigned)index;
    return true;
}

static bool take_switch(const struct row *row, const char *text, void *field)
{
    int index = parse_word(text, row->words);
    if (index < 0)
        return false;
    *(bool *)field = index % 2 == 1;
    return true;
}

static bool take_path(const struct row *row, const char *text, void *field)
{
    // The program may change its directory before the first file is written.
    if (text[0] != '/' || strlen(text) > row->max)
        return false;
    *(const char **)field = text;
    return true;
}

static bool take_labels(const struct row *row, const char *text, void *field)
{
    char escaped[LABELS_TEXT_MAX];
    (void)row;
    if (!labels_parse(text, escaped))
        return false;
    *(const char **)field = text;
    return true;
}

static bool take_file_rules(const struct row *row, const char *text, void *field)
{
    struct policy scratch;

    if (strlen(text) > row->max || !policy_parse(text, &scratch))
        return false;
    *(const char **)field = text;
    return true;
}

// Takers below write more than one field, or none: their rows have no offset.
static bool take_buckets(const struct row *row, const char *text, void *field)
{
    (void)row;
    struct config *c = field;
    return parse_bucket_list(text, c->bucket, &c->bucket_count);
}

static bool take_warmup(const struct row *row, const char *text, void *field)
{
    (void)row;
    struct config *c = field;
    if (strcmp(text, "none") != 0)
        return parse_warmup_list(text, c->warmup, &c->warmup_count);
    c->warmup_count = 0;
    return true;
}

static bool take_on_limit(const struct row *row, const char *text, void *field)
{
    struct config *c = field;
    uint64_t bytes = 64 * K;
    bool enomem = strcmp(text, "off") != 0;
    if (enomem && strcmp(text, "enomem") != 0 &&
        (strncmp(text, "enomem:", 7) != 0 || !whole_size(row, text + 7, &bytes)))
        return false;
    c->on_limit_enomem = enomem;
    c->on_limit_size_bytes = bytes;
    return true;
}

static bool take_globs(const struct row *row, const char *text, void *field)
{
    (void)row;
    (void)field;
    return globs_valid(text);
}

#define PRESET_WORDS "default throughput tight"
static bool take_preset(const struct row *row, const char *text, void *field)
{
    (void)field;
    return parse_word(text, row->words) >= 0;
}

#define AT(field) offsetof(struct config, field)

static const struct row rows[] = {
    {pool, "TIDEPOOL_BUCKETS", "1K,4K,16K,64K,256K,1M",
     "BOUND[:LIMIT],... with bounds ascending from 1K to 1M",
     "free blocks (or bytes: 1M:64M) kept per range", .take = take_buckets, .common = true},
    {pool, "TIDEPOOL_POOL_MAX", "auto", "a size from 64K up, such as 512M or 1.5G, or auto",
     "bytes free over all ranges", .take = take_size_or_auto, .offset = AT(pool_max_bytes),
     .min = 64 * K, .max = SIZE_TOP, .common = true},
    {pool, "TIDEPOOL_WARMUP", "none", "SIZE:COUNT,... with sizes from 1K to 1M, or none",
     "blocks made ready at start", .take = take_warmup},
    {pool, "TIDEPOOL_ON_MISUSE", "abort", "abort, warn or off", "on a double or invalid free",
     .take = take_word, .offset = AT(on_misuse), .words = "abort warn off", .common = true,
     .old = "TIDEPOOL_CHECK"},
    {pool, "TIDEPOOL_THP", "never", "default, madvise or never",
     "transparent huge pages for the heap", .take = take_word, .offset = AT(thp),
     .words = "default madvise never"},

    {process, "TIDEPOOL_VERBOSE", "0", "a number from 0 to 3, or quiet", "say more on stderr",
     .take = take_verbose, .offset = AT(verbose), .max = 3, .flag = "1", .common = true},
    {process, "TIDEPOOL_STATS", "off", "exit or off",
     "figures at exit(), if any, while stderr is open", .take = take_switch,
     .offset = AT(stats_at_exit), .words = "off exit", .flag = "exit", .common = true},
    {process, "TIDEPOOL_STRICT", "off", "on or off", "a bad setting ends the program: status 78",
     .take = take_switch, .offset = AT(strict), .words = SWITCH_WORDS, .flag = "on"},
    {process, "TIDEPOOL_DISABLE", "off", "on or off", "pass every request to jemalloc",
     .take = take_switch, .offset = AT(disable), .words = SWITCH_WORDS, .flag = "on",
     .unclear = "on"},
    {process, "TIDEPOOL_ONLY", NULL, "GLOB,... of names without a folder",
     "programs to work in; disabled in others", .take = take_globs, .unclear = CONFIG_DISABLES},
    {process, "TIDEPOOL_EXCEPT", NULL, "GLOB,... of names without a folder",
     "programs to be disabled in", .take = take_globs, .unclear = CONFIG_DISABLES},
    {process, "TIDEPOOL_NO_CHILDREN", "off", "on or off",
     "programs that this one starts run without", .take = take_switch, .offset = AT(no_children),
     .words = SWITCH_WORDS, .flag = "on", .common = true},
    {process, "TIDEPOOL_DEEPBIND", "strip", "strip or keep",
     "RTLD_DEEPBIND of dlopen(): two heaps in one process", .take = take_switch,
     .offset = AT(deepbind_keep), .words = "strip keep", .flag = "keep"},
    {process, "TIDEPOOL_PRIVATE", "on", "on or off", "use what of jemalloc is not in jemalloc(3)",
     .take = take_switch, .offset = AT(use_private), .words = SWITCH_WORDS, .flag = "off"},
    {process, "TIDEPOOL_CONTROL", "on", "on or off",
     "let tools of the same user (tidepool top) ask this process", .take = take_switch,
     .offset = AT(control), .words = SWITCH_WORDS, .flag = "on", .unclear = "off"},

    {pressure, "TIDEPOOL_PRESET", "default", "default, throughput or tight",
     "a set of levels and intervals", .take = take_preset, .words = PRESET_WORDS, .common = true},
    {pressure, "TIDEPOOL_WATCHDOG", "on", "on or off", "watch memory and give it back in time",
     .take = take_switch, .offset = AT(watchdog), .words = SWITCH_WORDS, .flag = "on"},
    {pressure, "TIDEPOOL_LIMIT", "auto", "a size from 1M up, such as 512M or 1.5G, or auto",
     "the memory limit, instead of the cgroup's", .take = take_size_or_auto,
     .offset = AT(limit_bytes), .min = M, .max = SIZE_TOP, .common = true},
    {pressure, "TIDEPOOL_SOURCE", "max", "max, rss or cgroup",
     "usage that counts against the limit", .take = take_word, .offset = AT(source),
     .words = "max rss cgroup"},
    {pressure, "TIDEPOOL_MODERATE", "60%", "a percentage from 1% to 100%, such as 75%",
     "from here on: a line, ordinary ageing", .take = take_percent, .offset = AT(moderate_ratio),
     .min = PERCENT, .max = 100 * PERCENT},
    {pressure, "TIDEPOOL_HIGH", "75%", "a percentage from 1% to 100%, such as 75%",
     "from here on: reclaim, with a cooldown", .take = take_percent, .offset = AT(high_ratio),
     .min = PERCENT, .max = 100 * PERCENT, .common = true},
    {pressure, "TIDEPOOL_CRITICAL", "90%", "a percentage from 1% to 100%, such as 75%",
     "from here on: reclaim at once", .take = take_percent, .offset = AT(critical_ratio),
     .min = PERCENT, .max = 100 * PERCENT, .common = true},
    {pressure, "TIDEPOOL_HYSTERESIS", "5%", "a percentage from 0% to 50%, such as 5%",
     "how far below a mark its level ends", .take = take_percent, .offset = AT(hysteresis_ratio),
     .max = 50 * PERCENT},
    {pressure, "TIDEPOOL_HEADROOM", "0", "a size such as 64M or 1.5G",
     "bytes to keep free below the limit", .take = take_size, .offset = AT(headroom_bytes),
     .max = SIZE_TOP},
    {pressure, "TIDEPOOL_INTERVAL", "5s", "a duration from 10ms to 60m, such as 500ms, 5s, 2m",
     "longest time between two evaluations", .take = take_duration, .offset = AT(interval_ms),
     .min = 10, .max = HOUR_MS},
    {pressure, "TIDEPOOL_COOLDOWN", "10s", "a duration from 0s to 60m, such as 500ms, 5s, 2m",
     "shortest time between two reclaims at high", .take = take_duration, .offset = AT(cooldown_ms),
     .max = HOUR_MS},
    {pressure, "TIDEPOOL_WATCH_MIN", "32M", "a size such as 64M or 1.5G",
     "no watchdog thread in a smaller process", .take = take_size, .offset = AT(evaluate_min_bytes),
     .max = SIZE_TOP},
    {pressure, "TIDEPOOL_ON_LIMIT", "off", "enomem, enomem:SIZE or off",
     "refuse such requests beyond the limit", .take = take_on_limit, .min = 1, .max = SIZE_TOP,
     .flag = "enomem"},

    {prom, "TIDEPOOL_PROM_DIR", NULL, "an absolute path", "folder for node_exporter's text files",
     .take = take_path, .offset = AT(prom_dir), .max = 4000, .common = true},
    {prom, "TIDEPOOL_PROM_INTERVAL", "15s", "a duration from 100ms to 60m, such as 500ms, 5s, 2m",
     "time between two writes", .take = take_duration, .offset = AT(prom_interval_ms), .min = 100,
     .max = HOUR_MS},
    {prom, "TIDEPOOL_PROM_KEEP", "off", "on or off", "leave the file behind at exit",
     .take = take_switch, .offset = AT(prom_keep), .words = SWITCH_WORDS, .flag = "on"},
    {prom, "TIDEPOOL_LABELS", NULL, LABELS_FORM, "labels added to every series",
     .take = take_labels, .offset = AT(labels)},

    {mfile, "TIDEPOOL_MFILE", NULL, "GLOB=HINT[,HINT...];...", "advice for files that are mapped",
     .take = take_file_rules, .offset = AT(mfile), .max = MFILE_POLICY_MAX},
    {mfile, "TIDEPOOL_KSM", "off", "on or off", "let the kernel merge equal pages",
     .take = take_switch, .offset = AT(ksm), .words = SWITCH_WORDS, .flag = "on"},

    {sample, "TIDEPOOL_SAMPLE", "off", "on, off or a size from 4K up, such as 64K",
     "mean bytes between two samples; on: 512K", .take = take_interval, .offset = AT(sample_bytes),
     .min = 4 * K, .max = SIZE_TOP, .flag = "on", .common = true},
    {sample, "TIDEPOOL_SAMPLE_DUMP", "off", "exit or off",
     "write the heap profile when the program ends", .take = take_switch,
     .offset = AT(sample_dump_at_exit), .words = "off exit", .flag = "exit"},
    {sample, "TIDEPOOL_SAMPLE_DIR", "/tmp", "an absolute path", "folder for heap profiles",
     .take = take_path, .offset = AT(sample_dir), .max = 3900},
    {sample, "TIDEPOOL_SAMPLE_UNWIND", "builtin", "builtin, libunwind or fp",
     "how the stack is walked; fp: frame pointers", .take = take_word, .offset = AT(sample_unwind),
     .words = "builtin libunwind fp"},
};

// A preset puts other defaults into the table; a variable that is set wins over both. The numbers
// are those of the guide that the project started from, Moderate at four fifths of High.
static const struct {
    enum config_preset preset;
    const char *name, *fallback;
} presets[] = {
    {CONFIG_PRESET_THROUGHPUT, "TIDEPOOL_MODERATE", "52%"},
    {CONFIG_PRESET_THROUGHPUT, "TIDEPOOL_HIGH", "65%"},
    {CONFIG_PRESET_THROUGHPUT, "TIDEPOOL_CRITICAL", "85%"},
    {CONFIG_PRESET_TIGHT, "TIDEPOOL_MODERATE", "48%"},
    {CONFIG_PRESET_TIGHT, "TIDEPOOL_HIGH", "60%"},
    {CONFIG_PRESET_TIGHT, "TIDEPOOL_CRITICAL", "75%"},
    {CONFIG_PRESET_TIGHT, "TIDEPOOL_COOLDOWN", "5s"},
    // A small container is full sooner than a large one, and an evaluation costs it less.
    {CONFIG_PRESET_TIGHT, "TIDEPOOL_INTERVAL", "1s"},
    {CONFIG_PRESET_TIGHT, "TIDEPOOL_WATCH_MIN", "8M"},
};

static_assert(array_len(rows) <= CONFIG_ROWS_MAX, "the loader keeps one pointer a row");

bool config_option_at(unsigned i, struct config_option *out)
{
    if (i >= array_len(rows))
        return false;
    const struct row *row = &rows[i];
    *out = (struct config_option){
        .name = row->name,
        .form = row->form,
        .fallback = row->fallback,
        .flag = row->flag,
        .help = row->help,
        .group = row->group,
        .common = row->common,
        .old = row->old,
    };
    return true;
}

bool config_table_take(unsigned i, const char *text, struct config *c)
{
    const struct row *row = &rows[i];
    return row->take(row, text, (char *)c + row->offset);
}

const char *config_table_unclear(unsigned i)
{
    return rows[i].unclear;
}

bool config_table_unsets(unsigned i, const char *text)
{
    return !rows[i].fallback && strcmp(text, "none") == 0;
}

bool config_option_accepts(unsigned i, const char *value)
{
    struct config scratch;
    return i < array_len(rows) &&
           (config_table_unsets(i, value) || config_table_take(i, value, &scratch));
}

static bool is_name(const char *known, const char *name, size_t length)
{
    return known && strncmp(known, name, length) == 0 && !known[length];
}

int config_table_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < array_len(rows); i++)
        if (is_name(rows[i].name, name, length) || is_name(rows[i].old, name, length))
            return (int)i;
    return -1;
}

enum config_preset config_table_preset(const char *text)
{
    int index = parse_word(text, PRESET_WORDS);
    return index < 0 ? CONFIG_PRESET_DEFAULT : (enum config_preset)index;
}

const char *config_table_fallback(unsigned i, enum config_preset preset)
{
    for (unsigned p = 0; p < array_len(presets); p++)
        if (presets[p].preset == preset && strcmp(presets[p].name, rows[i].name) == 0)
            return presets[p].fallback;
    return rows[i].fallback;
}
