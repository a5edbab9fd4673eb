// The text that Prometheus reads: numbers, escapes, one reading as a whole against a golden one,
// that it fits whatever it holds, and that counters never fall. promtool sees it in tests/export.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "export/labels.h"
#include "export/metrics.h"
#include "pool/pool.h"
#include "pressure/stats_snapshot.h"

static void expect_text(const char *is, const char *expected)
{
    cr_expect(strcmp(is, expected) == 0, "%s, expected %s", is, expected);
}

static const char *fixed(uint64_t n, unsigned decimals)
{
    static char text[64];
    struct out o = out_begin(text, sizeof text - 1, "");

    out_fixed(&o, n, decimals);
    *o.at = '\0';
    return text;
}

Test(metrics, numbers_have_a_point_and_no_needless_zeros)
{
    expect_text(fixed(0, 0), "0");
    expect_text(fixed(0, 6), "0");
    expect_text(fixed(1, 6), "0.000001");
    expect_text(fixed(1500000, 6), "1.5");
    expect_text(fixed(12345, 3), "12.345");
    expect_text(fixed(12000, 3), "12");
    expect_text(fixed(UINT64_MAX - 1, 0), "18446744073709551614");
    expect_text(fixed(UINT64_MAX, 0), "+Inf");
}

static const char *escaped(const char *text)
{
    static char out[64];
    struct out o = out_begin(out, sizeof out - 1, "");

    out_escaped(&o, text, strlen(text));
    *o.at = '\0';
    return out;
}

Test(metrics, a_name_that_the_kernel_cut_is_still_utf8)
{
    expect_text(escaped("redis-server"), "redis-server");
    expect_text(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    expect_text(escaped("K\xc3\xb6ln\xe6\xbc"), "K\xc3\xb6ln??");
    expect_text(escaped("\xff\xfe"), "??");
}

static struct metrics sample(void)
{
    struct metrics m = {
        .who = {.pid = 42, .pidns = IDENTITY_INITIAL_PIDNS},
        .comm = "a \"b\"",
        .labels = "service=\"api\"",
        .buckets = 2,
        .watched = true,
        .level = PRESSURE_HIGH,
        .limit_bytes = 100,
        .jemalloc_known = true,
    };
    m.bucket[0].bound_bytes = 1024;
    m.bucket[0].limit = 500;
    m.bucket[1].bound_bytes = 4096;
    m.bucket[1].limit = 1 << 20;
    m.bucket[1].limit_is_bytes = true;
    m.count.bucket[1].created = 7;
    m.count.level_ms[PRESSURE_HIGH] = 1500;
    m.count.reclaim_took[0] = 1;
    m.count.reclaim_took[2] = 2;
    m.count.reclaim_us = 345;
    return m;
}

static char text[METRICS_TEXT_MAX + 1];

static void expect_lines(const struct metrics *m, const char *lines)
{
    text[metrics_render(m, text, METRICS_TEXT_MAX)] = '\0';
    cr_expect(strstr(text, lines) != NULL, "missing:\n%s\nin:\n%s", lines, text);
}

Test(metrics, a_family_is_a_head_and_its_series)
{
    struct metrics m = sample();

    expect_lines(&m,
                 "\n# HELP tidepool_pool_created_total Requests served with a new block, for which "
                 "jemalloc was asked.\n"
                 "# TYPE tidepool_pool_created_total counter\n"
                 "tidepool_pool_created_total{pid=\"42\",comm=\"a \\\"b\\\"\",service=\"api\","
                 "bucket=\"1024\"} 0\n"
                 "tidepool_pool_created_total{pid=\"42\",comm=\"a \\\"b\\\"\",service=\"api\","
                 "bucket=\"4096\"} 7\n# HELP ");
    expect_lines(&m, "{pid=\"42\",comm=\"a \\\"b\\\"\",service=\"api\",level=\"high\"} 1.5\n");
    expect_lines(&m,
                 "tidepool_memory_pressure_level{pid=\"42\",comm=\"a \\\"b\\\"\",service=\"api\"} "
                 "2\n");
    cr_expect(eq(chr, text[strlen(text) - 1], '\n'));
}

Test(metrics, page_moves_are_told_and_whether_they_are_off)
{
    struct metrics m = sample();

    m.page_moves = 1;
    m.count.moved_bytes = 4096;
    m.labels = "";
    m.comm[0] = 'x';
    m.comm[1] = '\0';
    expect_lines(&m, "\ntidepool_memory_page_moves_enabled{pid=\"42\",comm=\"x\"} 1\n");
    expect_lines(&m, "\ntidepool_memory_moved_bytes_total{pid=\"42\",comm=\"x\"} 4096\n");
}

Test(metrics, a_histogram_adds_up)
{
    struct metrics m = sample();
    m.comm[0] = 'x';
    m.comm[1] = '\0';
    m.labels = "";

#define NAME "tidepool_memory_reclaim_duration_seconds"
#define LINE(le, n) NAME "_bucket{pid=\"42\",comm=\"x\",le=\"" le "\"} " n "\n"
    expect_lines(&m,
                 "# TYPE " NAME " histogram\n" LINE("5e-05", "1") LINE("0.0001", "1")
                     LINE("0.00025", "3") LINE("0.0005", "3") LINE("0.001", "3") LINE("0.0025", "3")
                         LINE("0.005", "3") LINE("0.01", "3") LINE("0.025", "3") LINE("0.1", "3")
                             LINE("1", "3") LINE("+Inf", "3") NAME
                 "_sum{pid=\"42\",comm=\"x\"} 0.000345\n" NAME "_count{pid=\"42\",comm=\"x\"} 3\n");
    static const uint32_t us[PRESSURE_HISTOGRAM] = {
        50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 100000, 1000000, UINT32_MAX};
    cr_expect(eq(int, memcmp(us, pressure_histogram_us, sizeof us), 0), "change families.c, too");
}

Test(metrics, a_limit_is_in_blocks_or_in_bytes)
{
    struct metrics m = sample();

    expect_lines(&m, "tidepool_pool_limit_blocks{pid=\"42\",comm=\"a \\\"b\\\"\",service=\"api\","
                     "bucket=\"1024\"} 500\n# HELP ");
    expect_lines(&m, "# TYPE tidepool_pool_limit_bytes gauge\n"
                     "tidepool_pool_limit_bytes{pid=\"42\",comm=\"a \\\"b\\\"\",service=\"api\","
                     "bucket=\"4096\"} 1048576\n");
}

Test(metrics, a_family_without_series_has_no_head_either)
{
    struct metrics m = sample();

    m.watched = m.jemalloc_known = m.bucket[1].limit_is_bytes = false;
    text[metrics_render(&m, text, METRICS_TEXT_MAX)] = '\0';
    cr_expect(strstr(text, "tidepool_pool_limit_bytes") == NULL);
    cr_expect(strstr(text, "tidepool_memory") == NULL);
    cr_expect(strstr(text, "tidepool_jemalloc") == NULL);
    cr_expect(strstr(text, "tidepool_build_info") != NULL);
}

Test(metrics, call_sites_are_told_where_they_are_sampled)
{
    struct metrics m = sample();

    text[metrics_render(&m, text, METRICS_TEXT_MAX)] = '\0';
    cr_expect(strstr(text, "tidepool_heap") == NULL);
    m.sampled = true;
    m.count.samples = 12;
    m.count.dumps[METRICS_DUMP_FAILED] = 3;
    m.samples.live_bytes = 4096;
#define ONE "{pid=\"42\",comm=\"a \\\"b\\\"\",service=\"api\""
    expect_lines(&m, "# TYPE tidepool_heap_samples_total counter\n"
                     "tidepool_heap_samples_total" ONE "} 12\n");
    expect_lines(&m, "# TYPE tidepool_heap_live_bytes gauge\n"
                     "tidepool_heap_live_bytes" ONE "} 4096\n");
    expect_lines(&m, "# TYPE tidepool_heap_dumps_total counter\n"
                     "tidepool_heap_dumps_total" ONE ",result=\"written\"} 0\n"
                     "tidepool_heap_dumps_total" ONE ",result=\"failed\"} 3\n");
}

Test(metrics, mapped_files_are_told_by_kind_and_advice_by_what_came_of_it)
{
    struct metrics m = sample();

    m.labels = "";
    m.comm[0] = 'x';
    m.comm[1] = '\0';
    text[metrics_render(&m, text, METRICS_TEXT_MAX)] = '\0';
    cr_expect(strstr(text, "tidepool_mfile") == NULL);
    m.files_known = true;
    m.files.bytes[MFILE_PRIVATE_READONLY] = 8192;
    m.count.advised[ADVICE_COLD][ADVICE_REFUSED] = 3;
#define HEAD "{pid=\"42\",comm=\"x\","
    expect_lines(&m, "# TYPE tidepool_mfile_mapped_bytes gauge\n"
                     "tidepool_mfile_mapped_bytes" HEAD "kind=\"shared\"} 0\n"
                     "tidepool_mfile_mapped_bytes" HEAD "kind=\"shared_readonly\"} 0\n"
                     "tidepool_mfile_mapped_bytes" HEAD "kind=\"private\"} 0\n"
                     "tidepool_mfile_mapped_bytes" HEAD "kind=\"private_readonly\"} 8192\n# HELP");
    expect_lines(&m, "# TYPE tidepool_mfile_advice_total counter\n"
                     "tidepool_mfile_advice_total" HEAD "hint=\"cold\",result=\"ok\"} 0\n"
                     "tidepool_mfile_advice_total" HEAD "hint=\"cold\",result=\"refused\"} 3\n"
                     "tidepool_mfile_advice_total" HEAD
                     "hint=\"cold\",result=\"unsupported\"} 0\n# HELP");
}

Test(metrics, a_pid_namespace_is_named_where_it_is_not_the_hosts)
{
    struct metrics m = sample();

    m.who.pidns = 4026532201;
    expect_lines(&m, "{pid=\"42\",comm=\"a \\\"b\\\"\",pidns=\"4026532201\",service=\"api\"}");
}

Test(metrics, the_largest_reading_fits_and_half_a_reading_is_none)
{
    static char labels[LABELS_TEXT_MAX];
    struct metrics m;

    memset(labels, 'x', sizeof labels - 1);
    memset(&m, 0xfe, sizeof m);
    m.who = (struct identity){.pid = INT32_MAX, .pidns = UINT64_MAX};
    memset(m.comm, '"', sizeof m.comm - 1);
    m.comm[15] = '\0';
    m.labels = labels;
    m.buckets = QUOTA_BUCKETS_MAX;
    m.watched = m.jemalloc_known = m.sampled = m.files_known = true;
    for (unsigned b = 0; b < m.buckets; b++)
        m.bucket[b].limit_is_bytes = b % 2;
    size_t length = metrics_render(&m, text, METRICS_TEXT_MAX);
    cr_expect(gt(sz, length, 100000));
    cr_expect(eq(sz, metrics_render(&m, text, length), length));
    for (size_t size = 0; size < length; size += 1 + size / 50)
        cr_assert(eq(sz, metrics_render(&m, text, size), 0));
    cr_expect(eq(sz, metrics_render(&m, text, length - 1), 0));
}

static uint64_t doubles;

static void misused(uint64_t count[METRICS_MISUSES])
{
    count[METRICS_DOUBLE_FREE] = doubles;
}

Test(metrics, counters_never_fall_and_begin_anew_in_a_child)
{
    static struct metrics m;

    metrics_init(&(struct metrics_options){.misused = misused});
    doubles = 5;
    cr_assert(metrics_read(&m, false));
    cr_expect(eq(u64, m.count.misused[METRICS_DOUBLE_FREE], 5));
    doubles = 3;
    cr_assert(metrics_read(&m, false));
    cr_expect(eq(u64, m.count.misused[METRICS_DOUBLE_FREE], 5));
    doubles = 7;
    metrics_child();
    cr_assert(metrics_read(&m, false));
    cr_expect(eq(u64, m.count.misused[METRICS_DOUBLE_FREE], 0));
    doubles = 9;
    cr_assert(metrics_read(&m, false));
    cr_expect(eq(u64, m.count.misused[METRICS_DOUBLE_FREE], 2));
}

Test(metrics, a_reading_adds_up)
{
    static const struct quota_bucket buckets[] = {{4096, 100, false, false},
                                                  {1 << 20, 1 << 20, true, false}};
    const struct pool_options options = {
        .bucket = buckets, .bucket_count = 2, .max_bytes = 1 << 24};
    static struct metrics m;
    bool can_drain;
    void *kept, *block;

    cr_assert(eq(int, pool_init(&options, &can_drain), 0));
    metrics_init(&(struct metrics_options){.labels = "a=b"});
    kept = pool_get_new(3000, false);
    block = pool_get_new(3000, false);
    cr_expect(eq(int, pool_put_slow(block), POOL_FINE));
    cr_assert(metrics_read(&m, true));
    cr_expect(eq(u32, m.buckets, 2));
    cr_expect(eq(u64, m.bucket[0].allocations, 2));
    cr_expect(eq(u64, m.count.bucket[0].created, 2));
    cr_expect(eq(u64, m.count.bucket[0].freed, 1));
    cr_expect(eq(u64, m.bucket[0].live_blocks, 1));
    cr_expect(eq(u64, m.bucket[0].free_blocks, 1));
    cr_expect(eq(u64, m.bucket[0].held_bytes, 2 * 3072));
    cr_expect(eq(u64, m.bucket[0].slack_bytes, 72));
    cr_expect(m.jemalloc_known);
    cr_expect(gt(u64, m.jemalloc.allocated, 0));
    cr_expect(eq(u64, pool_drain_self(), 3072));
    cr_assert(metrics_read(&m, true));
    cr_expect(eq(u64, m.count.bucket[0].drained, 1));
    cr_expect(eq(u64, pool_trim(0), 3072));
    cr_assert(metrics_read(&m, true));
    cr_expect(eq(u64, m.count.bucket[0].released, 1));
    cr_expect(eq(u64, m.bucket[0].held_bytes, 3072));
    // Beyond the bucket's MiB.
    for (int i = 0; i < 3; i++) {
        void *large[3] = {pool_get_new(1 << 20, false), pool_get_new(1 << 20, false),
                          pool_get_new(1 << 20, false)};
        for (int k = 0; k < 3; k++)
            pool_put_slow(large[k]);
    }
    cr_assert(metrics_read(&m, true));
    cr_expect(gt(u64, m.count.bucket[1].overflows, 0));
    pool_put_slow(kept);
}
