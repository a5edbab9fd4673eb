// The text of a heap profile, whole and broken.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "shim/cli/profile/profile.h"

// Criterion's own comparison takes no constant strings.
#define same(a, b) cr_assert(strcmp(a, b) == 0, "\"%s\", expected \"%s\"", a, b)

static struct profile p;

static int parse(const char *text)
{
    return profile_parse(text, strlen(text), &p);
}

static void tidy(void)
{
    profile_free(&p);
}

TestSuite(profile, .fini = tidy, .timeout = 30);

Test(profile, reads_what_jemalloc_writes)
{
    cr_assert(eq(int,
                 parse("heap_v2/1\n"
                       "  t*: 3: 300 [0: 0]\n"
                       "  t0: 3: 300 [0: 0] main\n"
                       "@ 0x10 0x20 0xabcdef012345\n"
                       "  t*: 3: 300 [5: 500]\n"
                       "  t0: 3: 300 [5: 500]\n"
                       "\nMAPPED_LIBRARIES:\n"
                       "00001000-00002000 r-xp 00000100 fe:00 10953890          /a b/c (deleted)\n"
                       "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"),
                 0));
    cr_assert(eq(sz, p.stack_count, 1));
    cr_assert(eq(sz, p.stacks[0].depth, 3));
    cr_assert(eq(u64, p.pcs[2], 0xabcdef012345));
    cr_assert(eq(dbl, p.stacks[0].bytes, 300));
    cr_assert(eq(dbl, p.stacks[0].blocks, 3));
    cr_assert(eq(sz, p.map_count, 2));
    same(p.maps[0].path, "/a b/c (deleted)");
    cr_assert(eq(u64, p.maps[0].offset, 0x100));
    cr_assert(p.maps[0].executable && !p.maps[1].executable && p.mapped);
    cr_assert(eq(sz, p.bad_lines, 0));
}

Test(profile, estimates_what_was_not_sampled)
{
    // Blocks of 4096 with one sample in 8192 bytes: 1 - exp(-1/2) of them were seen.
    cr_assert(eq(int, parse("heap_v2/8192\n@ 0x1\n t*: 10: 40960 [0: 0]\nMAPPED_LIBRARIES:\n"), 0));
    double scale = 1 / (1 - exp(-0.5));
    cr_assert(lt(dbl, fabs(p.stacks[0].bytes - 40960 * scale), 1e-6));
    cr_assert(lt(dbl, fabs(p.stacks[0].blocks - 10 * scale), 1e-6));
}

Test(profile, takes_no_estimate_for_a_sample)
{
    cr_assert(eq(int, parse("heap_v2/1\n@ 0x1\n t*: 10: 10 [0: 0]\n"), 0));
    cr_assert(eq(dbl, p.stacks[0].bytes, 10));
}

Test(profile, reads_build_ids)
{
    cr_assert(eq(int,
                 parse("heap_v2/1\n# build-id /a b/c 00FFab\n# a comment\n"
                       "MAPPED_LIBRARIES:\n# build-id /d 12\n# build-id /e \n# build-id 12\n"),
                 0));
    cr_assert(eq(sz, p.build_count, 2));
    same(p.builds[0].path, "/a b/c");
    same(p.builds[0].id, "00ffab");
    same(p.builds[1].path, "/d");
    cr_assert(eq(sz, p.bad_lines, 0));
}

Test(profile, reads_names)
{
    cr_assert(eq(int,
                 parse("heap_v2/1\n# name 0xfade000000000020 python\tf\t/a b.py\t12\n"
                       "# name 0xfade000000000010 ruby\tblock (2 levels) in g\t/c.rb\t0\n"
                       "# name 0xfade000000000030 half\tof\n# name 0x\n# name it\n"),
                 0));
    cr_assert(eq(sz, p.name_count, 3));
    const struct profile_name *n = profile_find_name(&p, 0xfade000000000020);
    cr_assert(n != NULL);
    same(n->language, "python");
    same(n->function, "f");
    same(n->file, "/a b.py");
    cr_assert(eq(uint, n->line, 12));
    n = profile_find_name(&p, 0xfade000000000010);
    same(n->function, "block (2 levels) in g");
    cr_assert(eq(uint, n->line, 0));
    n = profile_find_name(&p, 0xfade000000000030);
    same(n->function, "of");
    same(n->file, "");
    cr_assert(profile_find_name(&p, 0xfade000000000021) == NULL);
    cr_assert(eq(sz, p.bad_lines, 0));
}

Test(profile, reads_the_facts_it_knows)
{
    cr_assert(eq(int,
                 parse("heap_v2/1\n# tidepool 0.1.0, written at exit\n# pid 42\n# samples 7x\n"
                       "# dropped 3\n# outside_bytes 5\n# interval_bytes 524288\n# pid "
                       "99999999999999999999999\n"),
                 0));
    cr_assert(eq(u64, p.pid, 42));
    cr_assert(eq(u64, p.interval_bytes, 524288));
    cr_assert(eq(u64, p.dropped, 3));
    cr_assert(eq(u64, p.outside_bytes, 5));
    cr_assert(eq(u64, p.samples, 0));
    cr_assert(eq(sz, p.bad_lines, 0));
}

Test(profile, finds_the_mapping_of_an_address)
{
    cr_assert(eq(int,
                 parse("heap_v2/1\nMAPPED_LIBRARIES:\n3000-4000 r-xp 0 0:0 0 /b\n"
                       "1000-2000 r-xp 0 0:0 0 /a\n1800-1900 r-xp 0 0:0 0 /overlaps\n"),
                 0));
    cr_assert(eq(sz, p.map_count, 2));
    cr_assert(eq(sz, p.bad_lines, 1));
    same(profile_find_map(&p, 0x1000)->path, "/a");
    same(profile_find_map(&p, 0x3fff)->path, "/b");
    cr_assert(profile_find_map(&p, 0x2000) == NULL);
    cr_assert(profile_find_map(&p, 0xfff) == NULL);
}

Test(profile, reads_as_far_as_it_goes)
{
    cr_assert(eq(int, parse("heap_v2/1\n@ 0x1 0x2\n  t*: 1: 10 [0: 0]\n@ 0x3 0x4\n  t*: 2: "), 0));
    cr_assert(eq(sz, p.stack_count, 1));
    cr_assert(eq(sz, p.bad_lines, 1));
    cr_assert(not(p.mapped));
}

Test(profile, bounds_the_depth)
{
    static char text[64 * PROFILE_DEPTH_MAX];
    char *at = stpcpy(text, "heap_v2/1\n@");
    for (int i = 0; i < 2 * PROFILE_DEPTH_MAX; i++)
        at = stpcpy(at, " 0x12345");
    strcpy(at, "\n t*: 1: 1 [0: 0]\n");
    cr_assert(eq(int, parse(text), 0));
    cr_assert(eq(sz, p.stacks[0].depth, PROFILE_DEPTH_MAX));
}

static const char *const no_profiles[] = {
    "",
    "\n",
    "heap_v1/1\n",
    "heap_v2/",
    "heap_v2/x\n",
    "heap_v2/99999999999999999999\n",
    "heap_v2/2000000000000\n",
    "\x7f"
    "ELF\x02\x01\x01",
    "heap profile: 1: 1 [1: 1] @ heap_v2/1\n",
};

Test(profile, refuses_other_files)
{
    for (size_t i = 0; i < sizeof no_profiles / sizeof *no_profiles; i++)
        cr_assert(eq(int, parse(no_profiles[i]), -EINVAL), "%s", no_profiles[i]);
}

// Each is one line that costs itself and nothing of what follows.
static const char *const bad_lines[] = {
    "@ 12 13",
    "@ 0x",
    "@ 0x11112222333344445",
    "@ 0x1 junk",
    "junk",
    "@ 0x1\n  t*: x: 1 [0: 0]",
    "@ 0x1\n  t*: 1 1 [0: 0]",
    "@ 0x1\n  t*: 1: -1 [0: 0]",
    "@ 0x1\n  t*: 1: 99999999999999999999 [0: 0]",
    "@ 0x1\n  t*: 1: 1000000000000000000 [0: 0]",
    "\x01\x02\xff",
};

Test(profile, leaves_bad_lines_out)
{
    for (size_t i = 0; i < sizeof bad_lines / sizeof *bad_lines; i++) {
        char text[256];
        snprintf(text, sizeof text, "heap_v2/1\n%s\n@ 0x5\n  t*: 1: 7 [0: 0]\n", bad_lines[i]);
        cr_assert(eq(int, parse(text), 0));
        cr_assert(eq(sz, p.bad_lines, 1), "%s", bad_lines[i]);
        cr_assert(eq(sz, p.stack_count, 1), "%s", bad_lines[i]);
        cr_assert(eq(dbl, p.stacks[0].bytes, 7), "%s", bad_lines[i]);
        profile_free(&p);
    }
}

Test(profile, leaves_bad_mappings_out)
{
    cr_assert(eq(int,
                 parse("heap_v2/1\nMAPPED_LIBRARIES:\nx\n1000-1000 r-xp 0 0:0 0 /a\n"
                       "2000-1000 r-xp 0 0:0 0 /a\n1000 r-xp\n1000-2000\n1000-2000 r-xp zz\n"),
                 0));
    cr_assert(eq(sz, p.map_count, 0));
    cr_assert(eq(sz, p.bad_lines, 6));
}
