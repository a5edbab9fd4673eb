// config - what is made of an environment, by the table of table.c. See config.h.

#include "shim/config/config.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "shim/base.h"
#include "shim/base/log.h"
#include "shim/config/parse.h"
#include "shim/config/table.h"

#define PREFIX "TIDEPOOL_"
enum {
    PREFIX_LENGTH = sizeof PREFIX - 1,
    SHOWN_MAX = 64, // bytes of a value that a line quotes
    NAME_SHOWN_MAX = 48,
    LINE_MAX_BYTES = 480, // with the log's prefix, still one line of the log
};
static_assert(LINE_MAX_BYTES < LOG_LINE_MAX - 16, "a line fits the log");

// One run of the loader.
struct load {
    const struct config_sink *sink; // NULL: nothing is said
    const char *value[CONFIG_ROWS_MAX];
    const char *name[CONFIG_ROWS_MAX]; // as it was set
    enum config_preset preset;
    bool ends; // a problem ends the program
    bool problems;
};

// Copies what a terminal can show without harm, and marks what was left out.
static const char *shown(char *out, size_t size, const char *text, size_t length)
{
    size_t n = 0;
    for (; n < length && n < size - 4; n++)
        out[n] = text[n] == '"' ? '\'' : text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    memcpy(out + n, n < length ? "..." : "", n < length ? 4 : 1);
    return out;
}

static void say(struct load *l, const char *text)
{
    l->problems = true;
    if (l->sink)
        l->sink->line(l->sink->arg, text);
}

static const char *or_none(const char *fallback)
{
    return fallback ? fallback : "none";
}

static void collect_name(struct load *l, unsigned row, const char *name, char *const *env)
{
    const size_t length = name ? strlen(name) : 0;
    for (; length && *env && !l->value[row]; env++) {
        if (strncmp(*env, name, length) != 0 || (*env)[length] != '=' ||
            config_table_unsets(row, *env + length + 1))
            continue;
        l->value[row] = *env + length + 1;
        l->name[row] = name;
    }
}

// The first entry of a name counts, as with getenv; one of its old name where there is none.
static void collect(struct load *l, char *const *env)
{
    struct config_option o;
    for (unsigned i = 0; config_option_at(i, &o); i++) {
        collect_name(l, i, o.name, env);
        collect_name(l, i, o.old, env);
    }
}

static unsigned row_of(const char *name)
{
    int row = config_table_find(name, strlen(name));
    MUST(row >= 0);
    return (unsigned)row;
}

// The value that was set for a name, where it is a good one.
static const char *good_value(const struct load *l, const char *name)
{
    const char *value = l->value[row_of(name)];
    return value && config_option_accepts(row_of(name), value) ? value : NULL;
}

// Of TIDEPOOL_DISABLE or TIDEPOOL_STRICT: is it set, and on?
static bool is_on(const struct load *l, const char *name)
{
    struct config scratch = {.disable = false, .strict = false};
    const char *value = good_value(l, name);
    return value && config_table_take(row_of(name), value, &scratch) &&
           (scratch.disable || scratch.strict);
}

// The variable that keeps us out of this program.
static const char *kept_out_by(const struct load *l, const char *exe_name)
{
    if (is_on(l, PREFIX "DISABLE"))
        return PREFIX "DISABLE";
    const char *slash = exe_name ? strrchr(exe_name, '/') : NULL;
    const char *name = slash ? slash + 1 : exe_name;
    const char *only = good_value(l, PREFIX "ONLY");
    if (only && (!name || !globs_match(only, name)))
        return PREFIX "ONLY";
    const char *except = good_value(l, PREFIX "EXCEPT");
    return except && name && globs_match(except, name) ? PREFIX "EXCEPT" : NULL;
}

static void refuse(struct load *l, unsigned row, const char *form, const char *fallback)
{
    char value[SHOWN_MAX], line[LINE_MAX_BYTES];
    const char *text = l->value[row];
    log_format(line, sizeof line, "%s=\"%s\": expected %s%s%s", l->name[row],
               shown(value, sizeof value, text, strlen(text)), form, l->ends ? "" : "; using ",
               l->ends ? "" : fallback);
    say(l, line);
}

static void take_row(struct load *l, unsigned row, const struct config_option *o, struct config *c)
{
    const char *fallback = config_table_fallback(row, l->preset);
    if (fallback)
        MUST(config_table_take(row, fallback, c));
    if (!l->value[row] || config_table_take(row, l->value[row], c))
        return;
    const char *unclear = config_table_unclear(row);
    refuse(l, row, o->form, or_none(unclear ? unclear : fallback));
    if (unclear && strcmp(unclear, CONFIG_DISABLES) != 0)
        MUST(config_table_take(row, unclear, c));
}

// The first of these that is not understood, and so disables. A list of programs names none of
// those that it was made for, then.
static const char *unclear(const struct load *l)
{
    static const char *const names[] = {PREFIX "DISABLE", PREFIX "ONLY", PREFIX "EXCEPT"};
    for (unsigned i = 0; i < array_len(names); i++)
        if (l->value[row_of(names[i])] && !good_value(l, names[i]))
            return names[i];
    return NULL;
}

static const char *const marks[] = {PREFIX "HYSTERESIS", PREFIX "MODERATE", PREFIX "HIGH",
                                    PREFIX "CRITICAL"};

// The first mark that is not above the one before it; 0 where they rise.
static unsigned clash(const struct config *c)
{
    const double ratio[] = {c->hysteresis_ratio, c->moderate_ratio, c->high_ratio,
                            c->critical_ratio};
    static_assert(array_len(ratio) == array_len(marks), "one each");
    unsigned i = 1;
    while (i < array_len(ratio) && ratio[i - 1] < ratio[i])
        i++;
    return i % array_len(ratio);
}

// Each mark is good by itself here; together they must make sense.
static void check_marks(struct load *l, struct config *c)
{
    unsigned i = clash(c);
    if (!i)
        return;
    // Of the two that collide, one was set: the defaults are in order.
    unsigned culprit = row_of(good_value(l, marks[i]) ? marks[i] : marks[i - 1]);
    const char *fallback[array_len(marks)];
    for (i = 0; i < array_len(marks); i++) {
        fallback[i] = config_table_fallback(row_of(marks[i]), l->preset);
        MUST(config_table_take(row_of(marks[i]), fallback[i], c));
    }
    char shown_marks[64];
    log_format(shown_marks, sizeof shown_marks, "%s, %s, %s, %s", fallback[0], fallback[1],
               fallback[2], fallback[3]);
    refuse(l, culprit, "HYSTERESIS < MODERATE < HIGH < CRITICAL", shown_marks);
}

static void find_preset(struct load *l)
{
    const char *preset = good_value(l, PREFIX "PRESET");
    l->preset = preset ? config_table_preset(preset) : CONFIG_PRESET_DEFAULT;
}

bool config_marks_clash(struct config_clash *out, char *const *env)
{
    struct load l = {.sink = NULL};
    struct config c;
    const char *value[array_len(marks)];

    collect(&l, env);
    find_preset(&l);
    for (unsigned i = 0; i < array_len(marks); i++) {
        const char *good = good_value(&l, marks[i]);
        value[i] = good ? good : config_table_fallback(row_of(marks[i]), l.preset);
        MUST(config_table_take(row_of(marks[i]), value[i], &c));
    }
    unsigned i = clash(&c);
    if (i)
        *out = (struct config_clash){{marks[i - 1], marks[i]}, {value[i - 1], value[i]}};
    return i;
}

const char *config_option_meant(const char *name, size_t length)
{
    const char *best = NULL;
    unsigned least = UINT_MAX;
    struct config_option o;
    for (unsigned i = 0; config_option_at(i, &o); i++) {
        const char *known = o.name + PREFIX_LENGTH;
        size_t known_length = strlen(known);
        unsigned distance = edit_distance(name, length, known, known_length);
        bool is_beginning = !strncmp(known, name, length) && known[length] == '_';
        if (distance < least && (distance <= known_length / 3 || is_beginning)) {
            least = distance;
            best = o.name;
        }
    }
    return best;
}

static void report_unknown(struct load *l, char *const *env)
{
    for (; *env; env++) {
        const char *equals = strchr(*env, '=');
        size_t length = equals ? (size_t)(equals - *env) : 0;
        if (strncmp(*env, PREFIX, PREFIX_LENGTH) != 0 || length < PREFIX_LENGTH ||
            config_table_find(*env, length) >= 0)
            continue;
        char name[NAME_SHOWN_MAX], line[LINE_MAX_BYTES];
        const char *meant = config_option_meant(*env + PREFIX_LENGTH, length - PREFIX_LENGTH);
        log_format(line, sizeof line, "%s: no such setting%s; %s%s%s",
                   shown(name, sizeof name, *env, length), l->ends ? "" : ", ignored",
                   meant ? "did you mean " : "tidepool(7) lists them", meant ? meant : "",
                   meant ? "?" : "");
        say(l, line);
    }
}

bool config_load(struct config *out, char *const *env, const char *exe_name,
                 const struct config_sink *sink)
{
    struct load l = {.sink = sink};
    collect(&l, env);

    // A process that is kept out says nothing of its settings, however wrong they are.
    const char *off = kept_out_by(&l, exe_name);
    if (off)
        l.sink = NULL;
    else
        off = unclear(&l);
    l.ends = !off && is_on(&l, PREFIX "STRICT");

    find_preset(&l);
    memset(out, 0, sizeof *out);
    struct config_option o;
    for (unsigned i = 0; config_option_at(i, &o); i++)
        take_row(&l, i, &o, out);
    // A profile that was asked for needs samples.
    if (out->sample_dump_at_exit && !l.value[row_of(PREFIX "SAMPLE")])
        MUST(config_table_take(row_of(PREFIX "SAMPLE"), "on", out));
    check_marks(&l, out);
    report_unknown(&l, env);
    out->disable = off;
    out->disabled_by = off;
    return l.ends && l.problems;
}
