// /proc/self/statm, /proc/meminfo and rlimits, from a fixture and from this process.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pressure/kernel/text.h"
#include "pressure/usage/proc.h"
#include "pressure/usage/sample.h"

#define M (1ull << 20)
#define PLAIN "tests/fixtures/cgroup/plain"

Test(usage_proc, statm_counts_pages)
{
    struct proc_rss r;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    cr_assert(eq(int, proc_read_rss(PLAIN, &r), 0));
    cr_expect(eq(ulong, r.rss_bytes, 1000 * page));
    cr_expect(eq(ulong, r.anon_bytes, 800 * page));
}

Test(usage_proc, own_rss_follows_what_is_touched)
{
    struct proc_rss before, after;
    cr_assert(eq(int, proc_read_rss("", &before), 0));
    char *p = malloc(64 * M);
    memset(p, 1, 64 * M);
    cr_assert(eq(int, proc_read_rss("", &after), 0));
    cr_expect(ge(ulong, after.anon_bytes, before.anon_bytes + 63 * M));
    free(p);
}

Test(usage_proc, meminfo_is_in_kib)
{
    struct proc_ram r;
    cr_assert(eq(int, proc_read_ram(PLAIN, &r), 0));
    cr_expect(eq(ulong, r.total_bytes, 24684096ull * 1024));
    cr_expect(eq(ulong, r.available_bytes, 24000000ull * 1024));
}

Test(usage_proc, what_is_missing_is_an_error)
{
    struct proc_rss r;
    struct proc_ram m;
    cr_expect(eq(int, proc_read_rss("/nonexistent", &r), -ENOENT));
    cr_expect(eq(int, proc_read_ram("/nonexistent", &m), -ENOENT));
}

Test(usage_proc, the_smaller_rlimit_counts)
{
    struct rlimit as = {700 * M, RLIM_INFINITY}, data = {800 * M, RLIM_INFINITY};
    cr_assert(eq(ulong, proc_rlimit(), UINT64_MAX));
    cr_assert(eq(int, setrlimit(RLIMIT_DATA, &data), 0));
    cr_expect(eq(ulong, proc_rlimit(), 800 * M));
#ifndef __SANITIZE_ADDRESS__ // its shadow has no room below
    cr_assert(eq(int, setrlimit(RLIMIT_AS, &as), 0));
    cr_expect(eq(ulong, proc_rlimit(), 700 * M));
#else
    (void)as;
#endif
}

Test(text, lines_longer_than_the_buffer_are_skipped)
{
    char name[] = "/tmp/tidepool-test-XXXXXX";
    static char big[3 * TEXT_LINE];
    int fd = mkstemp(name);
    memset(big, 'x', sizeof big);
    cr_assert(eq(int, (int)write(fd, "first\n", 6), 6));
    cr_assert(eq(int, (int)write(fd, big, sizeof big), (int)sizeof big));
    cr_assert(eq(int, (int)write(fd, "\nlast", 5), 5));
    close(fd);
    struct text_lines l;
    cr_assert(eq(int, text_open(&l, name), 0));
    cr_expect(eq(int, strcmp(text_next(&l), "first"), 0));
    cr_expect(eq(int, strcmp(text_next(&l), "last"), 0));
    cr_expect(eq(ptr, text_next(&l), NULL));
    text_close(&l);
    unlink(name);
}

// What the sources add up to.
static struct sample_source source;
static struct pressure_sample s;
static struct pressure_options options;

static void take(const char *root)
{
    options.root = root;
    sample_init(&source, &options);
    sample_take(&source, &options, 1, &s);
}

static void defaults(void)
{
    options = pressure_defaults;
}

TestSuite(sample, .init = defaults);

Test(sample, without_proc_there_is_no_limit)
{
    take("/nonexistent");
    cr_expect(eq(ulong, s.limit_bytes, PRESSURE_UNLIMITED));
    cr_expect(eq(int, (int)s.kind, PRESSURE_LIMIT_NONE));
}

Test(sample, ram_is_the_limit_where_nothing_else_is)
{
    take(PLAIN);
    cr_expect(eq(int, (int)s.kind, PRESSURE_LIMIT_RAM));
    cr_expect(eq(ulong, s.limit_bytes, 24684096ull * 1024));
    cr_expect(eq(ulong, s.used_bytes, 684096ull * 1024));
}

Test(sample, the_cgroup_is_taken_at_its_level)
{
    take("tests/fixtures/cgroup/v2-nested");
    cr_expect(eq(int, (int)s.kind, PRESSURE_LIMIT_CGROUP_MAX));
    cr_expect(eq(ulong, s.limit_bytes, 500 * M));
    cr_expect(eq(ulong, s.used_bytes, 400 * M));
    cr_expect(eq(ulong, s.raw_bytes, 460 * M));
    cr_expect(eq(ulong, s.headroom_bytes, 100 * M));
}

Test(sample, an_option_below_the_cgroups_limit_counts_for_the_cgroup_too)
{
    options.limit_bytes = 410 * M;
    take("tests/fixtures/cgroup/v2-nested");
    cr_expect(eq(int, (int)s.kind, PRESSURE_LIMIT_OPTION));
    cr_expect(eq(ulong, s.limit_bytes, 410 * M));
    cr_expect(eq(ulong, s.headroom_bytes, 10 * M));
}

Test(sample, an_option_where_no_cgroup_binds_is_for_this_process)
{
    options.limit_bytes = 10 * M;
    take("tests/fixtures/cgroup/v2-unlimited");
    cr_expect(eq(int, (int)s.kind, PRESSURE_LIMIT_OPTION));
    cr_expect(eq(ulong, s.used_bytes, 0), "its statm is not there; the 90 MiB are the session's");
    options.source = PRESSURE_USAGE_CGROUP;
    take("tests/fixtures/cgroup/v2-unlimited");
    cr_expect(eq(ulong, s.used_bytes, 90 * M), "unless that is what was asked for");
}

Test(sample, rss_alone_does_not_count_the_cgroup)
{
    options.source = PRESSURE_USAGE_RSS;
    take("tests/fixtures/cgroup/v2-nested");
    cr_expect(eq(ulong, s.used_bytes, 0));
}
