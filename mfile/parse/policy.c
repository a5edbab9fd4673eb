#include "mfile/parse/policy.h"

#include <stddef.h>
#include <string.h>

#include "shim/base.h"

static const char *const names[HINTS] = {"prefetch", "populate",  "sequential", "random",
                                         "hugepage", "mergeable", "cold",       "lazyfree",
                                         "dontdump", "keep"};

static uint16_t hint_of(const char *text, size_t length)
{
    for (unsigned h = 0; h < HINTS; h++)
        if (strncmp(names[h], text, length) == 0 && !names[h][length])
            return (uint16_t)(1u << h);
    return 0;
}

static bool contradict(unsigned hints)
{
    return ((hints & HINT_SEQUENTIAL) && (hints & HINT_RANDOM)) ||
           ((hints & HINT_KEEP) && (hints & HINT_ON_PRESSURE));
}

// HINT[,HINT...] up to `end`; 0 where it is anything else.
static uint16_t parse_hints(const char *at, const char *end)
{
    uint16_t hints = 0;

    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        uint16_t hint = stop > at ? hint_of(at, (size_t)(stop - at)) : 0;
        if (!hint)
            return 0;
        hints |= hint;
        if (!comma)
            return contradict(hints) ? 0 : hints;
        at = comma + 1;
    }
}

// One rule; *at moves to the ';' or the end behind it. A glob may hold a '=', hints do not, so the
// last one separates them; a ';' in a glob needs a \ before it.
static bool parse_rule(const char **at, struct policy_rule *rule)
{
    const char *p = *at, *equals = NULL;

    for (; *p && *p != ';'; p++) {
        if (*p == '=')
            equals = p;
        if (*p == '\\' && !*++p)
            return false;
    }
    if (!equals || equals == *at)
        return false;
    rule->glob = *at;
    rule->length = (unsigned)(equals - *at);
    rule->hints = parse_hints(equals + 1, p);
    *at = p;
    return rule->hints != 0;
}

bool policy_parse(const char *text, struct policy *out)
{
    struct policy p = {.count = 0};

    while (*text) {
        if (p.count == POLICY_RULES_MAX || !parse_rule(&text, &p.rule[p.count]))
            return false;
        p.all |= p.rule[p.count++].hints;
        if (*text) // a ';', which may end the text, too
            text++;
    }
    if (!p.count)
        return false;
    *out = p;
    return true;
}

bool policy_glob_matches(const char *glob, const char *end, const char *name)
{
    // On a mismatch the last star takes one character more; earlier ones need not be tried again.
    const char *star = NULL, *star_name = NULL;

    while (*name) {
        const char *literal = glob;
        if (glob < end && *glob == '*') {
            star = ++glob;
            star_name = name;
            continue;
        }
        if (glob < end && *glob == '\\' && glob + 1 < end)
            literal = glob + 1;
        if (glob < end && ((*glob == '?' && literal == glob) || *literal == *name)) {
            glob = literal + 1;
            name++;
        } else if (star) {
            glob = star;
            name = ++star_name;
        } else {
            return false;
        }
    }
    while (glob < end && *glob == '*')
        glob++;
    return glob == end;
}

int policy_find(const struct policy *policy, const char *path)
{
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;

    for (unsigned r = 0; r < policy->count; r++) {
        const struct policy_rule *rule = &policy->rule[r];
        const char *name = memchr(rule->glob, '/', rule->length) ? path : last;
        if (policy_glob_matches(rule->glob, rule->glob + rule->length, name))
            return (int)r;
    }
    return -1;
}
