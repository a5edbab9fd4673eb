// An environment goes in as an array, the struct and the lines for the user come out: the loader is
// pure, so nothing of this process's own environment takes part. Refusals are a table; each row of
// it must leave every field as it is by default and say exactly one line.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "shim/config/config.h"
#include "shim/config/parse.h"
#include "shim/config/table.h"

static char lines[4096];
static unsigned line_count;

static void keep_line(void *arg, const char *text)
{
    (void)arg;
    line_count++;
    strncat(lines, text, sizeof lines - strlen(lines) - 2);
    strcat(lines, "\n");
}

#define LOAD(c, exe, ...) load(&(c), exe, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static bool load(struct config *c, const char *exe, const char *const *env)
{
    const struct config_sink sink = {.line = keep_line};
    char *copy[64];
    unsigned n = 0;
    for (; env[n]; n++)
        memcpy(&copy[n], &env[n], sizeof copy[n]); // sheds the const, as environ has none
    copy[n] = NULL;
    memset(c, 0xa5, sizeof *c);
    lines[0] = '\0';
    line_count = 0;
    return config_load(c, copy, exe, &sink);
}

// Criterion's own form takes no expression that starts with an operator.
#define HOLDS(x) cr_expect(ne(int, (x), 0), "%s", #x)

static void expect_lines(const char *want)
{
    cr_expect(zero(int, strcmp(lines, want)), "said:\n%swanted:\n%s", lines, want);
}

Test(config, an_empty_environment_gives_the_documented_defaults)
{
    struct config c;
    cr_expect(not(LOAD(c, "redis-server", "PATH=/bin", "HOME=/")));
    expect_lines("");
    static const size_t bounds[] = {1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20};
    static const uint64_t limits[] = {500, 128, 32, 8, 2, 1};
    cr_assert(eq(uint, c.bucket_count, 6));
    for (unsigned i = 0; i < 6; i++) {
        cr_expect(eq(sz, c.bucket[i].bound_bytes, bounds[i]));
        cr_expect(eq(u64, c.bucket[i].limit, limits[i]));
        cr_expect(c.bucket[i].limit_follows);
        cr_expect(not(c.bucket[i].limit_is_bytes));
    }
    HOLDS(!c.pool_max_bytes && !c.warmup_count);
    HOLDS(c.on_misuse == CONFIG_CHECK_ABORT && c.thp == CONFIG_THP_NEVER);
    HOLDS(!c.verbose && !c.stats_at_exit && !c.strict && !c.disable && !c.no_children);
    HOLDS(c.watchdog && c.limit_bytes == 0 && c.source == CONFIG_SOURCE_MAX);
    HOLDS(c.moderate_ratio == 0.60 && c.high_ratio == 0.75 && c.critical_ratio == 0.90);
    HOLDS(c.hysteresis_ratio == 0.05 && c.headroom_bytes == 0);
    HOLDS(c.interval_ms == 5000 && c.cooldown_ms == 10000 && c.evaluate_min_bytes == 32 << 20);
    HOLDS(!c.on_limit_enomem && c.on_limit_size_bytes == 64 << 10);
    HOLDS(!c.prom_dir && c.prom_interval_ms == 15000 && !c.prom_keep && !c.labels);
    HOLDS(!c.mfile && !c.ksm && !c.sample_bytes && !c.sample_dump_at_exit);
    HOLDS(strcmp(c.sample_dir, "/tmp") == 0);
}

Test(config, takes_every_setting)
{
    struct config c;
    LOAD(c, NULL, "TIDEPOOL_BUCKETS=2K:7,64KiB:0,1M:64M", "TIDEPOOL_POOL_MAX=2G",
         "TIDEPOOL_WARMUP=64K:32,4096:1", "TIDEPOOL_ON_MISUSE=off", "TIDEPOOL_THP=madvise",
         "TIDEPOOL_VERBOSE=3", "TIDEPOOL_STATS=exit", "TIDEPOOL_STRICT=1",
         "TIDEPOOL_NO_CHILDREN=yes", "TIDEPOOL_WATCHDOG=off", "TIDEPOOL_LIMIT=512MB",
         "TIDEPOOL_SOURCE=cgroup", "TIDEPOOL_MODERATE=10%", "TIDEPOOL_HIGH=62.5%",
         "TIDEPOOL_CRITICAL=100%", "TIDEPOOL_HYSTERESIS=0%", "TIDEPOOL_HEADROOM=1t",
         "TIDEPOOL_INTERVAL=250ms", "TIDEPOOL_COOLDOWN=2m", "TIDEPOOL_WATCH_MIN=0",
         "TIDEPOOL_ON_LIMIT=enomem:1M");
    expect_lines("");
    cr_assert(eq(uint, c.bucket_count, 3));
    HOLDS(c.bucket[0].bound_bytes == 2048 && c.bucket[0].limit == 7 && !c.bucket[0].limit_follows);
    HOLDS(c.bucket[1].bound_bytes == 65536 && c.bucket[1].limit == 0);
    HOLDS(c.bucket[2].limit == 64 << 20 && c.bucket[2].limit_is_bytes);
    HOLDS(c.pool_max_bytes == 2ull << 30);
    cr_assert(eq(uint, c.warmup_count, 2));
    HOLDS(c.warmup[0].size_bytes == 65536 && c.warmup[0].count == 32);
    HOLDS(c.warmup[1].size_bytes == 4096 && c.warmup[1].count == 1);
    HOLDS(c.on_misuse == CONFIG_CHECK_OFF && c.thp == CONFIG_THP_MADVISE && c.verbose == 3);
    HOLDS(c.stats_at_exit && c.strict && c.no_children && !c.watchdog);
    HOLDS(c.limit_bytes == 512ull << 20 && c.source == CONFIG_SOURCE_CGROUP);
    HOLDS(c.moderate_ratio == 0.10 && c.high_ratio == 0.625 && c.critical_ratio == 1.0);
    HOLDS(c.hysteresis_ratio == 0.0 && c.headroom_bytes == 1ull << 40);
    HOLDS(c.interval_ms == 250 && c.cooldown_ms == 120000 && c.evaluate_min_bytes == 0);
    HOLDS(c.on_limit_enomem && c.on_limit_size_bytes == 1 << 20);
}

#define BUCKETS_TAIL                                                                               \
    "expected BOUND[:LIMIT],... with bounds ascending from 1K to 1M; using "                       \
    "1K,4K,16K,64K,256K,1M"
#define POOL_MAX_TAIL "expected a size from 64K up, such as 512M or 1.5G, or auto; using auto"
#define MARK_TAIL "expected a percentage from 1% to 100%, such as 75%; using 75%"
#define MARKS_TAIL "expected HYSTERESIS < MODERATE < HIGH < CRITICAL; using 5%, 60%, 75%, 90%"
#define INTERVAL_TAIL "expected a duration from 10ms to 60m, such as 500ms, 5s, 2m; using 5s"

// Not a parameterized test: Criterion runs each parameter in a process at another address, where
// these pointers mean nothing.
static const struct {
    const char *setting, *line;
} refusals[] = {
    {"TIDEPOOL_BUCKETS=", "TIDEPOOL_BUCKETS=\"\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=4K:5,1K:5", "TIDEPOOL_BUCKETS=\"4K:5,1K:5\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=4K,4K", "TIDEPOOL_BUCKETS=\"4K,4K\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1023", "TIDEPOOL_BUCKETS=\"1023\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1048577", "TIDEPOOL_BUCKETS=\"1048577\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=2M", "TIDEPOOL_BUCKETS=\"2M\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K:", "TIDEPOOL_BUCKETS=\"1K:\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K:5,", "TIDEPOOL_BUCKETS=\"1K:5,\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=,1K:5", "TIDEPOOL_BUCKETS=\",1K:5\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K:-5", "TIDEPOOL_BUCKETS=\"1K:-5\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K:5x", "TIDEPOOL_BUCKETS=\"1K:5x\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K 4K", "TIDEPOOL_BUCKETS=\"1K 4K\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K:4294967296", "TIDEPOOL_BUCKETS=\"1K:4294967296\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K:99999999999T", "TIDEPOOL_BUCKETS=\"1K:99999999999T\": " BUCKETS_TAIL},
    {"TIDEPOOL_BUCKETS=1K,2K,3K,4K,5K,6K,7K,8K,9K,10K,11K,12K,13K,14K,15K,16K,17K",
     "TIDEPOOL_BUCKETS=\"1K,2K,3K,4K,5K,6K,7K,8K,9K,10K,11K,12K,13K,14K,15K,16K,17K\":"
     " " BUCKETS_TAIL},
    {"TIDEPOOL_THP=0123456789012345678901234567890123456789012345678901234567890",
     "TIDEPOOL_THP=\"012345678901234567890123456789012345678901234567890123456789...\": expected "
     "default, madvise or never; using never"},
    {"TIDEPOOL_POOL_MAX=", "TIDEPOOL_POOL_MAX=\"\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=1G ", "TIDEPOOL_POOL_MAX=\"1G \": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX= 1G", "TIDEPOOL_POOL_MAX=\" 1G\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=-1G", "TIDEPOOL_POOL_MAX=\"-1G\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=+1G", "TIDEPOOL_POOL_MAX=\"+1G\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=1P", "TIDEPOOL_POOL_MAX=\"1P\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=1Gi", "TIDEPOOL_POOL_MAX=\"1Gi\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=1.5", "TIDEPOOL_POOL_MAX=\"1.5\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=1.G", "TIDEPOOL_POOL_MAX=\"1.G\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=.5G", "TIDEPOOL_POOL_MAX=\".5G\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=1.1234567G", "TIDEPOOL_POOL_MAX=\"1.1234567G\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=0x10000000", "TIDEPOOL_POOL_MAX=\"0x10000000\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=K", "TIDEPOOL_POOL_MAX=\"K\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=0", "TIDEPOOL_POOL_MAX=\"0\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=18446744073709551616",
     "TIDEPOOL_POOL_MAX=\"18446744073709551616\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=16777216T", "TIDEPOOL_POOL_MAX=\"16777216T\": " POOL_MAX_TAIL},
    {"TIDEPOOL_POOL_MAX=1G\n\033[2J\"", "TIDEPOOL_POOL_MAX=\"1G??[2J'\": " POOL_MAX_TAIL},
    {"TIDEPOOL_WARMUP=64K", "TIDEPOOL_WARMUP=\"64K\": expected SIZE:COUNT,... with sizes from "
                            "1K to 1M, or none; using none"},
    {"TIDEPOOL_WARMUP=64K:0", "TIDEPOOL_WARMUP=\"64K:0\": expected SIZE:COUNT,... with sizes "
                              "from 1K to 1M, or none; using "
                              "none"},
    {"TIDEPOOL_CHECK=abor", "TIDEPOOL_CHECK=\"abor\": expected abort, warn or off; using abort"},
    {"TIDEPOOL_CONTROL=none", "TIDEPOOL_CONTROL=\"none\": expected on or off; using off"},
    {"TIDEPOOL_ON_MISUSE=", "TIDEPOOL_ON_MISUSE=\"\": expected abort, warn or off; using abort"},
    {"TIDEPOOL_VERBOSE=4",
     "TIDEPOOL_VERBOSE=\"4\": expected a number from 0 to 3, or quiet; using 0"},
    {"TIDEPOOL_VERBOSE=1K",
     "TIDEPOOL_VERBOSE=\"1K\": expected a number from 0 to 3, or quiet; using 0"},
    {"TIDEPOOL_STATS=1", "TIDEPOOL_STATS=\"1\": expected exit or off; using off"},
    {"TIDEPOOL_DISABLE=", "TIDEPOOL_DISABLE=\"\": expected on or off; using on"},
    {"TIDEPOOL_WATCHDOG=maybe", "TIDEPOOL_WATCHDOG=\"maybe\": expected on or off; using on"},
    {"TIDEPOOL_HIGH=75", "TIDEPOOL_HIGH=\"75\": " MARK_TAIL},
    {"TIDEPOOL_HIGH=0%", "TIDEPOOL_HIGH=\"0%\": " MARK_TAIL},
    {"TIDEPOOL_HIGH=101%", "TIDEPOOL_HIGH=\"101%\": " MARK_TAIL},
    {"TIDEPOOL_HIGH=75.%", "TIDEPOOL_HIGH=\"75.%\": " MARK_TAIL},
    {"TIDEPOOL_HIGH=75.1234%", "TIDEPOOL_HIGH=\"75.1234%\": " MARK_TAIL},
    {"TIDEPOOL_HIGH=75%%", "TIDEPOOL_HIGH=\"75%%\": " MARK_TAIL},
    {"TIDEPOOL_HIGH=18446744073709552%", "TIDEPOOL_HIGH=\"18446744073709552%\": " MARK_TAIL},
    {"TIDEPOOL_MODERATE=80%", "TIDEPOOL_MODERATE=\"80%\": " MARKS_TAIL},
    {"TIDEPOOL_HIGH=60%", "TIDEPOOL_HIGH=\"60%\": " MARKS_TAIL},
    {"TIDEPOOL_CRITICAL=70%", "TIDEPOOL_CRITICAL=\"70%\": " MARKS_TAIL},
    {"TIDEPOOL_MODERATE=5%", "TIDEPOOL_MODERATE=\"5%\": " MARKS_TAIL},
    {"TIDEPOOL_INTERVAL=5", "TIDEPOOL_INTERVAL=\"5\": " INTERVAL_TAIL},
    {"TIDEPOOL_INTERVAL=5h", "TIDEPOOL_INTERVAL=\"5h\": " INTERVAL_TAIL},
    {"TIDEPOOL_INTERVAL=5sec", "TIDEPOOL_INTERVAL=\"5sec\": " INTERVAL_TAIL},
    {"TIDEPOOL_INTERVAL=9ms", "TIDEPOOL_INTERVAL=\"9ms\": " INTERVAL_TAIL},
    {"TIDEPOOL_INTERVAL=61m", "TIDEPOOL_INTERVAL=\"61m\": " INTERVAL_TAIL},
    {"TIDEPOOL_INTERVAL=18446744073709551615m",
     "TIDEPOOL_INTERVAL=\"18446744073709551615m\": " INTERVAL_TAIL},
    {"TIDEPOOL_ON_LIMIT=enomem:",
     "TIDEPOOL_ON_LIMIT=\"enomem:\": expected enomem, enomem:SIZE or off; using off"},
    {"TIDEPOOL_ON_LIMIT=enomem:0",
     "TIDEPOOL_ON_LIMIT=\"enomem:0\": expected enomem, enomem:SIZE or off; using off"},
    {"TIDEPOOL_PRESET=fast",
     "TIDEPOOL_PRESET=\"fast\": expected default, throughput or tight; using default"},
    {"TIDEPOOL_ONLY=",
     "TIDEPOOL_ONLY=\"\": expected GLOB,... of names without a folder; using TIDEPOOL_DISABLE=on"},
    {"TIDEPOOL_ONLY=a,,b", "TIDEPOOL_ONLY=\"a,,b\": expected GLOB,... of names without a folder; "
                           "using TIDEPOOL_DISABLE=on"},
    {"TIDEPOOL_EXCEPT=/usr/bin/x", "TIDEPOOL_EXCEPT=\"/usr/bin/x\": expected GLOB,... of names "
                                   "without a folder; using TIDEPOOL_DISABLE=on"},
    {"TIDEPOOL_BUKETS=1K",
     "TIDEPOOL_BUKETS: no such setting, ignored; did you mean TIDEPOOL_BUCKETS?"},
    {"TIDEPOOL_WRAMUP=1K",
     "TIDEPOOL_WRAMUP: no such setting, ignored; did you mean TIDEPOOL_WARMUP?"},
    {"TIDEPOOL_POOL_MX=1G",
     "TIDEPOOL_POOL_MX: no such setting, ignored; did you mean TIDEPOOL_POOL_MAX?"},
    {"TIDEPOOL_PRESSET=tight",
     "TIDEPOOL_PRESSET: no such setting, ignored; did you mean TIDEPOOL_PRESET?"},
    {"TIDEPOOL_TPH=never", "TIDEPOOL_TPH: no such setting, ignored; did you mean TIDEPOOL_THP?"},
    {"TIDEPOOL_TYPO=1", "TIDEPOOL_TYPO: no such setting, ignored; tidepool(7) lists them"},
    {"TIDEPOOL_PID=1", "TIDEPOOL_PID: no such setting, ignored; tidepool(7) lists them"},
    {"TIDEPOOL_POOL=1K",
     "TIDEPOOL_POOL: no such setting, ignored; did you mean TIDEPOOL_POOL_MAX?"},
    {"TIDEPOOL_=1", "TIDEPOOL_: no such setting, ignored; tidepool(7) lists them"},
    {"TIDEPOOL_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ=1",
     "TIDEPOOL_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ...: no such setting, ignored; tidepool(7) "
     "lists "
     "them"},
};

Test(config, refuses_with_one_line)
{
    struct config c, plain;
    LOAD(plain, "prog");
    for (unsigned i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const char *setting = refusals[i].setting, *line = refusals[i].line;
        cr_expect(not(LOAD(c, "prog", setting)));
        // Where what is not understood turns something off.
        plain.disable = c.disable, plain.disabled_by = c.disabled_by, plain.control = c.control;
        cr_expect(zero(int, memcmp(&c, &plain, sizeof c)), "%s changed a field", setting);
        cr_expect(zero(int, strncmp(lines, line, strlen(line))), "said:\n%swanted:\n%s", lines,
                  line);
        cr_expect(eq(sz, strlen(lines), strlen(line) + 1));
        cr_expect(eq(uint, line_count, 1));
    }
}

Test(config, each_bad_setting_gets_its_line_and_the_good_ones_count)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_VERBOSE=x", "TIDEPOOL_THP=madvise", "TIDEPOOL_DEBG=1",
         "TIDEPOOL_LIMIT=64M", "TIDEPOOL_NOEQUALS", "tidepool_thp=x", "TIDEPOOLS=1");
    expect_lines("TIDEPOOL_VERBOSE=\"x\": expected a number from 0 to 3, or quiet; using 0\n"
                 "TIDEPOOL_DEBG: no such setting, ignored; tidepool(7) lists them\n");
    HOLDS(c.thp == CONFIG_THP_MADVISE && c.limit_bytes == 64 << 20);
}

Test(config, the_readme_s_none_is_taken_where_it_stands_for_no_default)
{
    struct config c, plain;
    LOAD(plain, "prog");
    cr_expect(
        not(LOAD(c, "prog", "TIDEPOOL_MFILE=none", "TIDEPOOL_PROM_DIR=none", "TIDEPOOL_LABELS=none",
                 "TIDEPOOL_ONLY=none", "TIDEPOOL_EXCEPT=none", "TIDEPOOL_WARMUP=none")));
    cr_expect(zero(int, memcmp(&c, &plain, sizeof c)));
    cr_expect(zero(int, lines[0]), "%s", lines);
    struct config_option o;
    for (unsigned i = 0; config_option_at(i, &o); i++)
        cr_expect(o.fallback || config_option_accepts(i, "none"), "%s", o.name);
}

Test(config, the_first_of_two_entries_counts_as_with_getenv)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_VERBOSE=1", "TIDEPOOL_VERBOSE=2");
    cr_expect(eq(uint, c.verbose, 1));
}

Test(config, a_new_name_wins_over_the_old_one)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_CHECK=off", "TIDEPOOL_ON_MISUSE=warn");
    HOLDS(c.on_misuse == CONFIG_CHECK_WARN && !lines[0]);
    LOAD(c, "prog", "TIDEPOOL_CHECK=off");
    HOLDS(c.on_misuse == CONFIG_CHECK_OFF && !lines[0]);
}

Test(config, sizes_and_durations_take_fractions)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_LIMIT=1.5G", "TIDEPOOL_HEADROOM=0.000001M", "TIDEPOOL_INTERVAL=1.25s",
         "TIDEPOOL_COOLDOWN=0.5m", "TIDEPOOL_WATCH_MIN=0.1KiB", "TIDEPOOL_HIGH=75.1250%");
    HOLDS(!lines[0] && c.limit_bytes == 3ull << 29 && c.headroom_bytes == 1);
    HOLDS(c.interval_ms == 1250 && c.cooldown_ms == 30000 && c.evaluate_min_bytes == 102);
    HOLDS(c.high_ratio == 0.75125);
}

Test(config, a_profile_at_exit_needs_samples)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_SAMPLE_DUMP=exit");
    HOLDS(c.sample_bytes == 512 << 10);
    LOAD(c, "prog", "TIDEPOOL_SAMPLE_DUMP=exit", "TIDEPOOL_SAMPLE=off");
    HOLDS(c.sample_bytes == 0);
}

Test(config, quiet_is_a_degree_of_verbosity)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_VERBOSE=quiet");
    HOLDS(c.verbose == CONFIG_QUIET && !lines[0]);
}

// CLASH(&found, "TIDEPOOL_HIGH=95%", ...): are marks out of order?
static bool clash(struct config_clash *out, const char *const *env)
{
    char *copy[8];
    unsigned n = 0;
    while (env[n])
        n++;
    memcpy(copy, env, (n + 1) * sizeof *env);
    return config_marks_clash(out, copy);
}
#define CLASH(out, ...) clash(out, (const char *const[]){__VA_ARGS__, NULL})

Test(config, two_marks_in_the_wrong_order_are_named)
{
    struct config_clash found;
    HOLDS(!CLASH(&found, "TIDEPOOL_HIGH=62.5%"));
    HOLDS(CLASH(&found, "TIDEPOOL_HIGH=95%"));
    HOLDS(strcmp(found.name[0], "TIDEPOOL_HIGH") == 0 && strcmp(found.value[0], "95%") == 0);
    HOLDS(strcmp(found.name[1], "TIDEPOOL_CRITICAL") == 0 && strcmp(found.value[1], "90%") == 0);
    HOLDS(CLASH(&found, "TIDEPOOL_HIGH=76%", "TIDEPOOL_PRESET=tight"));
    HOLDS(!CLASH(&found, "TIDEPOOL_HIGH=74%", "TIDEPOOL_PRESET=tight"));
}

Test(config, strict_asks_to_leave_only_where_something_was_wrong)
{
    struct config c;
    cr_expect(not(LOAD(c, "prog", "TIDEPOOL_STRICT=1", "TIDEPOOL_VERBOSE=1")));
    HOLDS(LOAD(c, "prog", "TIDEPOOL_STRICT=1", "TIDEPOOL_VERBOSE=x"));
    HOLDS(LOAD(c, "prog", "TIDEPOOL_STRICT=1", "TIDEPOOL_VERBSE=1"));
    HOLDS(!(LOAD(c, "prog", "TIDEPOOL_STRICT=1", "TIDEPOOL_VERBOSE=x", "TIDEPOOL_DISABLE=1")));
    cr_expect(not(LOAD(c, "prog", "TIDEPOOL_STRICT=0", "TIDEPOOL_VERBOSE=x")));
}

Test(config, a_line_that_ends_the_program_names_no_default)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_STRICT=on", "TIDEPOOL_VERBOSE=x", "TIDEPOOL_VERBSE=1");
    expect_lines("TIDEPOOL_VERBOSE=\"x\": expected a number from 0 to 3, or quiet\n"
                 "TIDEPOOL_VERBSE: no such setting; did you mean TIDEPOOL_VERBOSE?\n");
    LOAD(c, "prog", "TIDEPOOL_STRICT=on", "TIDEPOOL_HIGH=95%");
    expect_lines("TIDEPOOL_HIGH=\"95%\": expected HYSTERESIS < MODERATE < HIGH < CRITICAL\n");
    // It runs, disabled.
    HOLDS(!(LOAD(c, "prog", "TIDEPOOL_STRICT=on", "TIDEPOOL_DISABLE=x")));
    expect_lines("TIDEPOOL_DISABLE=\"x\": expected on or off; using on\n");
}

Test(config, only_and_except_disable_by_name_without_a_word)
{
    struct config c;
    const char *only = "TIDEPOOL_ONLY=redis-server,nginx*,?at,a\\*b", *bad = "TIDEPOOL_VERBOSE=x";
    static const struct {
        const char *exe;
        bool disabled;
    } rows[] = {
        {"redis-server", false},
        {"/usr/bin/redis-server", false},
        {"redis-serve", true},
        {"redis-server2", true},
        {"nginx", false},
        {"nginx-debug", false},
        {"/nginx/bin/true", true},
        {"cat", false},
        {"at", true},
        {"", true},
        {"a*b", false},
        {"axb", true},
        {NULL, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool leave = LOAD(c, rows[i].exe, only, bad, "TIDEPOOL_STRICT=1");
        cr_expect(ne(int, leave, rows[i].disabled), "%s", rows[i].exe);
        cr_expect(eq(int, c.disable, rows[i].disabled), "%s", rows[i].exe);
        cr_expect(eq(uint, line_count, rows[i].disabled ? 0 : 1), "%s", rows[i].exe);
    }
    LOAD(c, "bash", "TIDEPOOL_EXCEPT=bash,git*");
    HOLDS(c.disable);
    LOAD(c, "python3", "TIDEPOOL_EXCEPT=bash,git*");
    cr_expect(not(c.disable));
    LOAD(c, NULL, "TIDEPOOL_EXCEPT=*");
    cr_expect(not(c.disable));
    LOAD(c, "nginx", only, "TIDEPOOL_EXCEPT=nginx");
    HOLDS(c.disable);
}

Test(config, yes_in_any_spelling_disables)
{
    static const char *const yes[] = {"1",    "on",   "ON",   "On", "yes", "YES",
                                      "true", "TRUE", "True", "y",  "Y",   "t"};
    static const char *const no[] = {"0",     "off",   "OFF", "no", "No",
                                     "false", "FALSE", "n",   "N",  "f"};
    char text[64];
    struct config c;

    for (unsigned i = 0; i < sizeof yes / sizeof *yes; i++) {
        snprintf(text, sizeof text, "TIDEPOOL_DISABLE=%s", yes[i]);
        LOAD(c, "prog", text);
        cr_expect(eq(int, c.disable && !line_count, 1), "%s", text);
    }
    for (unsigned i = 0; i < sizeof no / sizeof *no; i++) {
        snprintf(text, sizeof text, "TIDEPOOL_DISABLE=%s", no[i]);
        LOAD(c, "prog", text);
        cr_expect(eq(int, !c.disable && !line_count, 1), "%s", text);
    }
}

Test(config, what_is_not_understood_disables_with_a_line)
{
    static const char *const unclear[] = {
        "TIDEPOOL_DISABLE=",    "TIDEPOOL_DISABLE=2",   "TIDEPOOL_DISABLE=1 ",
        "TIDEPOOL_DISABLE=oui", "TIDEPOOL_DISABLE=onn", "TIDEPOOL_DISABLE=enabled",
        "TIDEPOOL_DISABLE=o",   "TIDEPOOL_ONLY=/bin/x", "TIDEPOOL_EXCEPT=a,",
    };
    struct config c;

    for (unsigned i = 0; i < sizeof unclear / sizeof *unclear; i++) {
        LOAD(c, "prog", unclear[i]);
        cr_expect(eq(int, c.disable &&line_count == 1, 1), "%s: %u lines", unclear[i], line_count);
    }
}

Test(config, globs_with_many_stars_end)
{
    HOLDS(globs_match("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"));
    cr_expect(not(globs_match("*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
    HOLDS(globs_match("**", "") && globs_match("x,*", "y") && !globs_match("a?", "a"));
}

Test(config, a_preset_moves_the_defaults_and_single_settings_win)
{
    struct config c;
    LOAD(c, "prog", "TIDEPOOL_PRESET=tight");
    expect_lines("");
    HOLDS(c.bucket_count == 6 && c.bucket[5].limit_follows && c.cooldown_ms == 5000);
    HOLDS(c.moderate_ratio == 0.48 && c.high_ratio == 0.60 && c.critical_ratio == 0.75);
    LOAD(c, "prog", "TIDEPOOL_CRITICAL=80%", "TIDEPOOL_PRESET=throughput", "TIDEPOOL_BUCKETS=1M:3");
    HOLDS(c.bucket_count == 1 && c.bucket[0].limit == 3);
    HOLDS(c.high_ratio == 0.65 && c.critical_ratio == 0.80 && c.cooldown_ms == 10000);
    // The default that a refusal names is the preset's.
    LOAD(c, "prog", "TIDEPOOL_PRESET=tight", "TIDEPOOL_HIGH=x");
    expect_lines(
        "TIDEPOOL_HIGH=\"x\": expected a percentage from 1% to 100%, such as 75%; using 60%\n");
}

Test(config, settings_whose_feature_is_to_come_are_checked_already)
{
    struct config c;
    char path[4200];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    path[0] = '/';
    unsigned dir = (unsigned)config_table_find("TIDEPOOL_PROM_DIR", 17);
    unsigned sample = (unsigned)config_table_find("TIDEPOOL_SAMPLE", 15);
    HOLDS(!config_option_accepts(dir, "relative/dir") && !config_option_accepts(dir, path));
    path[4000] = '\0';
    HOLDS(config_table_take(dir, path, &c) && c.prom_dir == path);
    HOLDS(config_table_take(sample, "on", &c) && c.sample_bytes == 512 << 10);
    HOLDS(config_table_take(sample, "4K", &c) && c.sample_bytes == 4 << 10);
    HOLDS(!config_table_take(sample, "1K", &c) && c.sample_bytes == 4 << 10);
    HOLDS(config_table_take(sample, "off", &c) && c.sample_bytes == 0);
}

Test(config, every_default_and_flag_of_the_table_is_a_value_it_takes)
{
    struct config_option o;
    unsigned i = 0;
    for (; config_option_at(i, &o); i++) {
        for (int p = CONFIG_PRESET_DEFAULT; p <= CONFIG_PRESET_TIGHT; p++) {
            const char *fallback = config_table_fallback(i, (enum config_preset)p);
            HOLDS(!fallback || config_option_accepts(i, fallback));
        }
        HOLDS(!o.flag || config_option_accepts(i, o.flag));
        cr_expect(not(config_option_accepts(i, "")), "%s takes an empty value", o.name);
        cr_expect(eq(int, config_table_find(o.name, strlen(o.name)), (int)i));
    }
    HOLDS(i > 30);
    cr_expect(not(config_option_accepts(i, "on")));
}

Test(config, edit_distance_counts_slips)
{
    cr_expect(eq(uint, edit_distance("thp", 3, "thp", 3), 0));
    cr_expect(eq(uint, edit_distance("tph", 3, "thp", 3), 1));
    cr_expect(eq(uint, edit_distance("", 0, "thp", 3), 3));
    cr_expect(eq(uint, edit_distance("buket", 5, "buckets", 7), 2));
    cr_expect(eq(uint, edit_distance("kitten", 6, "sitting", 7), 3));
}
