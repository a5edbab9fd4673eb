// report - the options of `tidepool report`, and the files.

#include "shim/cli/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base.h"
#include "shim/cli/common/cli.h"
#include "shim/cli/profile/file.h"
#include "shim/cli/profile/profile.h"
#include "shim/cli/symbols/symbols.h"

enum { TOP_DEFAULT = 20, EXIT_NO_PROFILE = 1 };
// A profile has a few hundred bytes a stack; more than this is something else.
#define FILE_MAX_BYTES ((size_t)1 << 30)

enum form { FORM_TOP, FORM_FOLDED, FORM_JSON };

struct options {
    enum form form;
    bool all_frames, top_given, help;
    const char *html, *root;
};

static const char help[] =
    "Usage: tidepool report FILE... [options]\n"
    "What held the memory, by heap profiles (heap_v2) of tidepool, jemalloc, jeprof or pprof.\n"
    "Several are added up; - is the standard input.\n\n"
    "      --top N           rows to show, 0 for all [20]\n"
    "      --by WHAT         a row for each site, function or module [site]\n"
    "      --diff OLD        against an older profile, the largest change first\n"
    "      --html OUT        also a page with a flame graph; - is the standard output\n"
    "      --folded          folded stacks instead of the table\n"
    "      --json            rows as JSON\n"
    "      --root DIR        where the mapped files are: /proc/PID/root for a container\n"
    "      --all-frames      frames of the allocator and of interpreters, too\n";

static int usage(const char *what, const char *arg)
{
    return launcher_fail(EXIT_OURS,
                         "report: %s%s%s; usage: tidepool report FILE... [--top N] [--by "
                         "site|function|module] [--diff OLD] [--folded | --json] [--html OUT] "
                         "[--root DIR] [--all-frames]",
                         arg ? arg : "", arg ? ": " : "", what);
}

static bool take_top(struct report *r, const char *value)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (errno || *end || *value < '0' || *value > '9')
        return false;
    r->top = n;
    return true;
}

static bool take_by(struct report *r, const char *value)
{
    for (size_t i = 0; i < BYS; i++)
        if (strcmp(rows_by_names[i], value) == 0) {
            r->by = (enum rows_by)i;
            return true;
        }
    return false;
}

static bool take_switch(struct options *o, const char *name)
{
    if (strcmp(name, "--folded") == 0)
        o->form = FORM_FOLDED;
    else if (strcmp(name, "--json") == 0)
        o->form = FORM_JSON;
    else if (strcmp(name, "--all-frames") == 0)
        o->all_frames = true;
    else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        o->help = true;
    else
        return false;
    return true;
}

static int take_value(struct report *r, struct options *o, const char *name, size_t length,
                      const char *value)
{
    if (strncmp(name, "--top", length) == 0) {
        o->top_given = true;
        return take_top(r, value) ? 0 : usage("--top: expected a number, 0 for all", NULL);
    }
    if (strncmp(name, "--by", length) == 0)
        return take_by(r, value) ? 0 : usage("--by: expected site, function or module", NULL);
    if (strncmp(name, "--diff", length) == 0)
        r->old_name = value;
    else if (strncmp(name, "--html", length) == 0)
        o->html = value;
    else
        o->root = value;
    return 0;
}

// The files come to stand first in args. 0 or an exit code.
static int take_args(struct report *r, struct options *o, char **args)
{
    static const char *const valued[] = {"--top", "--by", "--diff", "--html", "--root"};
    size_t files = 0;
    bool plain = false;
    for (char **arg = args; *arg; arg++) {
        // tidepool report "$(tidepool dump PID)"
        if (!**arg)
            return launcher_fail(EXIT_OURS,
                                 "report: no profile is named (did tidepool dump fail?)");
        if (plain || (*arg)[0] != '-' || !(*arg)[1]) {
            args[files++] = *arg;
            continue;
        }
        size_t length = strcspn(*arg, "="), i = 0;
        while (i < array_len(valued) &&
               (strlen(valued[i]) != length || strncmp(*arg, valued[i], length) != 0))
            i++;
        if (strcmp(*arg, "--") == 0) {
            plain = true;
        } else if (i < array_len(valued)) {
            const char *name = *arg, *value = name[length] ? name + length + 1 : *++arg;
            if (!value || !*value)
                return usage("expected a value", valued[i]);
            int status = take_value(r, o, name, length, value);
            if (status)
                return status;
        } else if (!take_switch(o, *arg)) {
            return usage("no such option", *arg);
        }
    }
    r->names = (const char *const *)args;
    r->name_count = files;
    return files || o->help ? 0 : usage("no profile", NULL);
}

// One line for what a profile lacks.
static void say_flaws(const struct profile *p, const char *path)
{
    if (p->bad_lines)
        launcher_fail(0, "%s: %zu lines make no sense and are left out", path, p->bad_lines);
    if (!p->mapped)
        launcher_fail(0, "%s: cut short: it does not say which files were mapped", path);
}

static int add_file(struct report *r, const char *path, const struct symbols_options *o)
{
    struct profile p;
    struct stat st;
    size_t size;
    int fd = file_open(path, &st);
    char *text = fd < 0 ? NULL : file_read(fd, FILE_MAX_BYTES, &size);
    if (!text)
        return launcher_fail(EXIT_NO_PROFILE, "%s: %s", path, strerror(errno));
    int err = profile_parse(text, size, &p);
    free(text);
    if (err)
        return launcher_fail(EXIT_NO_PROFILE, "%s: not a heap profile (heap_v2)", path);
    say_flaws(&p, path);
    symbols_resolve(&p, path, &st, o, &r->stacks);
    if (o->side == SIDE_NOW) {
        // Estimates are written with the rate 1, and what they rest on in a comment.
        r->interval_bytes = p.rate > 1 ? p.rate : p.interval_bytes;
        r->samples += p.samples;
        r->dropped += p.dropped;
        r->outside_bytes += p.outside_bytes;
    }
    profile_free(&p);
    return 0;
}

static int write_page(const struct report *r, const char *path)
{
    if (strcmp(path, "-") == 0) {
        report_flame(r, stdout);
        return 0;
    }
    FILE *f = fopen(path, "we");
    if (!f)
        return launcher_fail(EXIT_NO_PROFILE, "%s: %s", path, strerror(errno));
    report_flame(r, f);
    bool failed = ferror(f);
    if (fclose(f) != 0 || failed)
        return launcher_fail(EXIT_NO_PROFILE, "%s: %s", path, strerror(errno));
    return 0;
}

static int write_all(struct report *r, const struct options *o)
{
    int status = o->html ? write_page(r, o->html) : 0;
    if (status)
        return status;
    if (o->form == FORM_FOLDED)
        report_folded(r, stdout);
    else if (o->form == FORM_JSON)
        report_json(r, stdout);
    else if (!o->html || strcmp(o->html, "-") != 0)
        report_top(r, stdout);
    if (fflush(stdout) != 0 || ferror(stdout))
        return launcher_fail(EXIT_NO_PROFILE, "standard output: %s", strerror(errno));
    return 0;
}

int launcher_report(char **args)
{
    struct report r = {0};
    struct options o = {0};
    int status = take_args(&r, &o, args);
    if (status)
        return status;
    if (o.help) {
        fputs(help, stdout);
        return 0;
    }
    // A table is for people, and they read its beginning; programs want all.
    if (!o.top_given)
        r.top = o.form == FORM_TOP ? TOP_DEFAULT : 0;
    stacks_init(&r.stacks);
    struct symbols_options symbols = {.all_frames = o.all_frames, .side = SIDE_NOW, .root = o.root};
    for (size_t i = 0; i < r.name_count && !status; i++)
        status = add_file(&r, r.names[i], &symbols);
    symbols.side = SIDE_BEFORE;
    if (r.old_name && !status)
        status = add_file(&r, r.old_name, &symbols);
    if (!status)
        status = write_all(&r, &o);
    stacks_free(&r.stacks);
    return status;
}
