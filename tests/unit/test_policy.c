// TIDEPOOL_MFILE: which texts are policies, and which rule a path gets.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "mfile/parse/policy.h"

static bool parses(const char *text)
{
    struct policy p;
    return policy_parse(text, &p);
}

Test(policy, knows_every_hint_and_any_number_of_rules)
{
    struct policy p;
    cr_assert(policy_parse("*.mdb=lazyfree;/data/*=prefetch,sequential;x=keep", &p));
    cr_expect(eq(uint, p.count, 3));
    cr_expect(eq(u16, p.rule[1].hints, HINT_PREFETCH | HINT_SEQUENTIAL));
    cr_expect(eq(u16, p.all, HINT_LAZYFREE | HINT_PREFETCH | HINT_SEQUENTIAL | HINT_KEEP));
    cr_expect(parses("*=prefetch,populate,random,hugepage,mergeable,cold,lazyfree,dontdump"));
    static const char *const names[HINTS] = {"prefetch", "populate",  "sequential", "random",
                                             "hugepage", "mergeable", "cold",       "lazyfree",
                                             "dontdump", "keep"};
    for (unsigned h = 0; h < HINTS; h++) {
        char text[40] = "a=";
        strcat(text, names[h]);
        cr_assert(policy_parse(text, &p), "%s", text);
        cr_expect(eq(u16, p.all, (uint16_t)(1u << h)));
    }
}

static const char *const refused[] = {
    "",
    ";",
    "*.mdb",
    "=cold",
    "*=",
    "*=,",
    "*=cold,",
    "*=,cold",
    "*=colder",
    "*=col",
    "*=Cold",
    "*= cold",
    "*=cold;;x=keep",
    "a;b=cold",
    "*=sequential,random",
    "*=keep,lazyfree",
    "*=cold,keep",
    "x\\",
    "x\\=cold",
};

Test(policy, refuses_what_is_none_and_leaves_the_result_alone)
{
    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct policy p = {.count = 77};
        cr_expect(false == policy_parse(refused[i], &p), "taken: \"%s\"", refused[i]);
        cr_expect(eq(uint, p.count, 77));
    }
}

Test(policy, a_semicolon_may_end_it_and_too_many_rules_are_refused)
{
    char text[POLICY_RULES_MAX * 7 + 20] = "";
    for (int i = 0; i < POLICY_RULES_MAX; i++)
        strcat(text, "a=cold;");
    cr_expect(parses(text));
    strcat(text, "a=cold");
    cr_expect(false == parses(text));
}

static const struct {
    const char *policy, *path;
    int rule;
} matches[] = {
    {"*.mdb=cold", "/var/lib/x/data.mdb", 0},
    {"*.mdb=cold", "/var/lib/x/data.mdb2", -1},
    {"data.mdb=cold", "/var/lib/x/data.mdb", 0},
    {"data.mdb=cold", "/var/lib/x/mydata.mdb", -1},
    {"/var/*=cold", "/var/lib/deep/er", 0},
    {"/var/*=cold", "/vary", -1},
    {"/var/*/z=cold", "/var/a/b/z", 0},
    {"*/x/*.seg=cold", "/q/x/1.seg", 0},
    {"?.seg=cold", "/q/1.seg", 0},
    {"?.seg=cold", "/q/12.seg", -1},
    {"*=cold;*.mdb=keep", "/a.mdb", 0},
    {"*.mdb=keep;*=cold", "/a.mdb", 0},
    {"*.mdb=keep;*=cold", "/b", 1},
    {"a=b=cold", "/a=b", 0},
    {"a\\;b=cold", "/a;b", 0},
    {"a\\*=cold", "/a*", 0},
    {"a\\*=cold", "/ab", -1},
    {"\\?=cold", "/x", -1},
    {"\\\\=cold", "/\\", 0},
    {"*a*b*c=cold", "/xxaxxbxxbxxc", 0},
    {"*a*b*c=cold", "/xxaxxbxxbxxcx", -1},
    {"**=cold", "/", 0},
    {"*=cold", "", 0},
    {"memfd:*=cold", "/memfd:x", 0},
};

Test(policy, finds_the_first_rule_that_matches)
{
    for (unsigned i = 0; i < sizeof matches / sizeof matches[0]; i++) {
        struct policy p;
        cr_assert(policy_parse(matches[i].policy, &p), "%s", matches[i].policy);
        cr_expect(eq(int, policy_find(&p, matches[i].path), matches[i].rule), "%s against %s",
                  matches[i].policy, matches[i].path);
    }
}

Test(policy, many_stars_take_no_more_than_glob_times_path)
{
    struct policy p;
    char path[4000];
    cr_assert(policy_parse("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b/=cold", &p));
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    for (int i = 0; i < 100; i++)
        cr_assert(eq(int, policy_find(&p, path), -1));
}
