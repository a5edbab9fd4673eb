// Which limit binds, read from trees under tests/fixtures/cgroup, each named for what is odd about
// it; those that have to change while they are read are written into a temporary directory.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "pressure/usage/sample.h"

#define M (1ull << 20)
#define V1 PRESSURE_LIMIT_CGROUP_V1
#define MAX PRESSURE_LIMIT_CGROUP_MAX

struct row {
    char tree[24];
    int error;
    uint64_t limit, raw, used;
    enum pressure_limit_kind kind; // NONE: readable, and nothing is limited
};

ParameterizedTestParameters(source_cgroup, level_that_binds)
{
    static struct row rows[] = {
        {"v1", 0, 512 * M, 300 * M, 200 * M, V1},
        {"v1-nested", 0, 200 * M, 190 * M, 170 * M, V1},
        {"v1-fuller-parent", 0, 200 * M, 180 * M, 180 * M, V1},
        {"v1-bind", 0, 64 * M, 32 * M, 24 * M, V1},
        {"v1-bind-below", 0, 64 * M, 32 * M, 24 * M, V1},
        {"v1-hidden", 0, 256 * M, 200 * M, 150 * M, V1},
        {"v1-oldmount", 0, 1024 * M, 600 * M, 512 * M, V1},
        {"v1-nohierarchy", 0, 400 * M, 100 * M, 100 * M, V1},
        {"hybrid", 0, 300 * M, 150 * M, 100 * M, V1},
        {"hybrid-v2", 0, 300 * M, 150 * M, 100 * M, MAX},
        {"v2-nested", 0, 500 * M, 460 * M, 400 * M, MAX},
        {"v2-high", 0, 256 * M, 128 * M, 128 * M, PRESSURE_LIMIT_CGROUP_HIGH},
        {"v2-container", 0, 96 * M, 64 * M, 48 * M, MAX},
        {"v2-uncontrolled", 0, 128 * M, 100 * M, 96 * M, MAX},
        {"v2-outside", 0, 96 * M, 64 * M, 48 * M, MAX},
        {"v2-deleted", 0, 128 * M, 64 * M, 60 * M, MAX},
        {"v2-long-stat", 0, 128 * M, 64 * M, 60 * M, MAX},
        {"v2-negative", 0, 128 * M, 3 * M, 0, MAX},
        {"escapes", 0, 128 * M, 64 * M, 60 * M, MAX},
        {"mounts", 0, 200 * M, 190 * M, 170 * M, V1},
        {"v2-unlimited", 0, UINT64_MAX, 0, 0, PRESSURE_LIMIT_NONE},
        {"v1-badnumbers", 0, UINT64_MAX, 0, 0, PRESSURE_LIMIT_NONE},
        {"unmounted", -ENOENT, 0, 0, 0, PRESSURE_LIMIT_NONE},
        {"garbled", -EINVAL, 0, 0, 0, PRESSURE_LIMIT_NONE},
        {"no-such-tree", -ENOENT, 0, 0, 0, PRESSURE_LIMIT_NONE},
    };
    return cr_make_param_array(struct row, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct row *r, source_cgroup, level_that_binds)
{
    static struct cgroup_source s;
    struct cgroup_reading got = {0};
    char root[128];
    snprintf(root, sizeof root, "tests/fixtures/cgroup/%s", r->tree);
    cgroup_init(&s, root);
    cr_expect(eq(int, cgroup_read(&s, false, 0, &got), r->error), "%s", r->tree);
    cr_expect(eq(int, got.found, r->kind != PRESSURE_LIMIT_NONE), "%s", r->tree);
    cr_expect(eq(ulong, got.limit_bytes, r->limit), "%s limit", r->tree);
    cr_expect(eq(ulong, got.raw_bytes, r->raw), "%s raw", r->tree);
    cr_expect(eq(ulong, got.used_bytes, r->used), "%s used", r->tree);
    cr_expect(eq(int, (int)got.kind, (int)r->kind), "%s kind", r->tree);
}

// A v2 tree of our own making, with the cgroup's own directory at `name`.
static char tree[64];

static void put(const char *path, const char *text)
{
    char file[256];
    snprintf(file, sizeof file, "%s/%s", tree, path);
    for (char *p = file + strlen(tree) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(file, 0755);
        *p = '/';
    }
    FILE *f = fopen(file, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void put_cgroup(const char *name, const char *max, const char *current)
{
    char path[128], line[128];
    snprintf(path, sizeof path, "cg/%s/memory.max", name);
    put(path, max);
    snprintf(path, sizeof path, "cg/%s/memory.current", name);
    put(path, current);
    snprintf(path, sizeof path, "cg/%s/memory.stat", name);
    put(path, "anon 0\ninactive_file 0\n");
    snprintf(line, sizeof line, "0::/%s\n", name);
    put("proc/self/cgroup", line);
}

static void make_tree(void)
{
    strcpy(tree, "/tmp/tidepool-test-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(tree), NULL));
    put("proc/self/mountinfo", "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n");
    put("cg/memory.stat", "inactive_file 0\n");
}

static void remove_tree(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", tree);
    cr_assert(eq(int, system(command), 0));
}

TestSuite(usage_cgroup_tree, .init = make_tree, .fini = remove_tree);

static struct cgroup_source source;

static uint64_t limit_at(uint64_t now_ms)
{
    struct cgroup_reading r;
    return cgroup_read(&source, false, now_ms, &r) == 0 ? r.limit_bytes : 0;
}

Test(usage_cgroup_tree, limits_are_read_again_on_every_look)
{
    put_cgroup("a", "1000\n", "10\n");
    cgroup_init(&source, tree);
    cr_expect(eq(ulong, limit_at(1), 1000));
    put_cgroup("a", "500\n", "10\n");
    cr_expect(eq(ulong, limit_at(1), 500));
    put_cgroup("a", "max\n", "10\n");
    cr_expect(eq(ulong, limit_at(1), UINT64_MAX));
    put_cgroup("a", "0\n", "10\n");
    cr_expect(eq(ulong, limit_at(1), 1));
}

Test(usage_cgroup_tree, a_removed_cgroup_is_looked_for_at_once)
{
    put_cgroup("a", "1000\n", "10\n");
    cgroup_init(&source, tree);
    cr_expect(eq(ulong, limit_at(1), 1000));
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s/cg/a'", tree);
    cr_assert(eq(int, system(command), 0));
    put_cgroup("b", "700\n", "10\n");
    cr_expect(eq(ulong, limit_at(2), 700));
}

Test(usage_cgroup_tree, a_moved_process_is_noticed_at_once)
{
    put_cgroup("a", "1000\n", "10\n");
    cgroup_init(&source, tree);
    cr_expect(eq(ulong, limit_at(1), 1000));
    put_cgroup("b", "700\n", "10\n");
    cr_expect(eq(ulong, limit_at(1), 700));
    put("proc/self/cgroup", "0::/../elsewhere\n");
    limit_at(1);
    put_cgroup("a", "1000\n", "10\n");
    cr_expect(eq(ulong, limit_at(1), 1000), "back from where no limit was to be seen");
}

Test(usage_cgroup_tree, a_limit_of_any_level_and_a_move_are_changes)
{
    put_cgroup("a", "1000\n", "10\n");
    put("cg/a/memory.high", "900\n");
    put_cgroup("a/b", "max\n", "10\n");
    cgroup_init(&source, tree);
    limit_at(1);
    cr_expect(eq(int, cgroup_unchanged(&source), 1));
    put("cg/a/memory.current", "20\n");
    cr_expect(eq(int, cgroup_unchanged(&source), 1), "usage is no limit");
    put("cg/a/memory.high", "800\n");
    cr_expect(eq(int, cgroup_unchanged(&source), 0), "memory.high of the parent");
    limit_at(1);
    put("cg/a/b/memory.max", "700\n");
    cr_expect(eq(int, cgroup_unchanged(&source), 0), "its own");
    limit_at(1);
    put("proc/self/cgroup", "0::/a\n");
    cr_expect(eq(int, cgroup_unchanged(&source), 0), "moved");
}

// Between full readings, too, which are 250 ms apart.
Test(usage_cgroup_tree, a_look_sees_a_limit_that_was_just_set)
{
    static struct sample_source looks;
    struct pressure_options options = pressure_defaults;
    struct pressure_sample s;

    put("proc/self/statm", "100 100 0 1 0 1 0\n");
    put_cgroup("a", "1000000000\n", "1000000\n");
    options.root = tree;
    sample_init(&looks, &options);
    sample_take(&looks, &options, 1, &s);
    cr_expect(eq(ulong, s.limit_bytes, 1000000000));
    put("cg/a/memory.max", "100000000\n");
    sample_take(&looks, &options, 4, &s);
    cr_expect(eq(ulong, s.limit_bytes, 100000000));
}

// And the next sample finds all of it, however long a search for a missing controller would wait.
Test(usage_cgroup_tree, there_is_no_sample_without_a_descriptor)
{
    static struct sample_source looks;
    struct pressure_options options = pressure_defaults;
    struct pressure_sample s;
    struct rlimit was, none = {0, 0};

    put("proc/self/statm", "100 100 0 1 0 1 0\n");
    put_cgroup("a", "1000000000\n", "1000000\n");
    options.root = tree;
    cr_assert(eq(int, getrlimit(RLIMIT_NOFILE, &was), 0));
    none.rlim_max = was.rlim_max;
    sample_init(&looks, &options);
    for (uint64_t now = 1; now < 4; now++) {
        setrlimit(RLIMIT_NOFILE, &none);
        cr_expect(eq(int, sample_take(&looks, &options, now, &s), 0));
        setrlimit(RLIMIT_NOFILE, &was);
        cr_expect(eq(int, sample_take(&looks, &options, now, &s), 1));
        cr_expect(eq(ulong, s.limit_bytes, 1000000000));
    }
}

Test(usage_cgroup_tree, a_controller_may_appear_later)
{
    cgroup_init(&source, tree);
    put("proc/self/mountinfo", "\n");
    put("proc/self/cgroup", "0::/a\n");
    cr_expect(eq(ulong, limit_at(1), 0));
    put("proc/self/mountinfo", "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n");
    put_cgroup("a", "1000\n", "10\n");
    cr_expect(eq(ulong, limit_at(2), 0), "not before it is time");
    cr_expect(eq(ulong, limit_at(40000), 1000));
}

// A sample, where the cgroup has so much anonymous memory, this process so much of it, and
// something else, page cache for one, is charged as well.
static bool alone_with(unsigned anon_mib, unsigned own_mib, unsigned else_mib, uint64_t now_ms)
{
    static struct sample_source looks;
    struct pressure_options options = pressure_defaults;
    struct pressure_sample s;
    char line[128];

    snprintf(line, sizeof line, "%llu\n", (anon_mib + else_mib) * M);
    put("cg/a/memory.current", line);
    snprintf(line, sizeof line, "anon %llu\ninactive_file 0\n", anon_mib * M);
    put("cg/a/memory.stat", line);
    snprintf(line, sizeof line, "%llu %llu 0 1 0 1 0\n", 2 * own_mib * M / 4096,
             own_mib * M / 4096);
    put("proc/self/statm", line);
    options.root = tree;
    if (now_ms == 1)
        sample_init(&looks, &options);
    sample_take(&looks, &options, now_ms, &s);
    cr_expect(eq(ulong, s.limit_bytes, 300 * M));
    return s.alone;
}

Test(usage_cgroup_tree, who_has_all_anonymous_memory_is_alone)
{
    put_cgroup("a", "314572800\n", "0\n");
    cr_expect(eq(int, alone_with(200, 200, 40, 1), 1), "page cache has no owner");
    // Between two reads of memory.stat all that comes and is not ours may be a neighbour's.
    cr_expect(eq(int, alone_with(220, 220, 40, 10), 1), "ours");
    cr_expect(eq(int, alone_with(220, 220, 41, 20), 0));
    cr_expect(eq(int, alone_with(221, 220, 40, 30), 0));
    cr_expect(eq(int, alone_with(220, 220, 40, 40), 1));
    cr_expect(eq(int, alone_with(220, 220, 60, 1000), 1));
    cr_expect(eq(int, alone_with(221, 220, 40, 2000), 0));
}

Test(usage_cgroup_tree, where_nothing_is_said_of_anonymous_memory_there_are_others)
{
    struct cgroup_reading r;
    put_cgroup("a", "1000\n", "10\n");
    put("cg/a/memory.stat", "inactive_file 0\n");
    cgroup_init(&source, tree);
    cr_assert(eq(int, cgroup_read(&source, false, 1, &r), 0));
    cr_expect(eq(ulong, r.anon_bytes, UINT64_MAX));
}

Test(usage_cgroup, own_usage_is_there_without_a_limit)
{
    static struct cgroup_source s;
    struct cgroup_reading r;
    cgroup_init(&s, "tests/fixtures/cgroup/v2-unlimited");
    cr_assert(eq(int, cgroup_read(&s, true, 0, &r), 0));
    cr_expect(eq(ulong, r.own_raw_bytes, 100 * M));
    cr_expect(eq(ulong, r.own_used_bytes, 90 * M));
}

Test(usage_cgroup, psi_is_looked_for_in_the_unified_tree_of_a_hybrid_host)
{
    static struct cgroup_found f = {.root = "tests/fixtures/cgroup/hybrid"};
    cr_assert(eq(int, cgroup_find(&f), 0));
    cr_expect(eq(int, f.v2, 0));
    // No memory.pressure there: then there is no such place.
    cr_expect(eq(sz, f.unified.len, 0));
}
