#include "export/textfile/place.h"

#include <limits.h>
#include <string.h>

#include "pressure/kernel/text.h"
#include "shim/number.h"

#define PREFIX "tidepool-"
#define SUFFIX ".prom"
#define TEMPORARY ".tmp"
#define LINE "# tidepool pid="

void place_name(char out[PLACE_NAME_MAX], const struct identity *who, bool temporary)
{
    struct out o = out_begin(out, PLACE_NAME_MAX - 1, "");

    out_text(&o, PREFIX);
    out_number(&o, (uint64_t)who->pid);
    if (identity_in_container(who)) {
        out_char(&o, '-');
        out_number(&o, who->pidns);
    }
    out_text(&o, temporary ? SUFFIX TEMPORARY : SUFFIX);
    *o.at = '\0';
}

static bool skip(const char **at, const char *text)
{
    size_t length = strlen(text);

    if (strncmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool take_pid(const char **at, int *pid)
{
    uint64_t n;

    // A leading zero would make two names of one.
    if (**at == '0' || !number_read(at, &n) || n > INT_MAX)
        return false;
    *pid = (int)n;
    return true;
}

bool place_parse_name(const char *name, struct place_name *out)
{
    *out = (struct place_name){0};
    if (!skip(&name, PREFIX) || !take_pid(&name, &out->pid))
        return false;
    if (*name == '-' && (*++name == '0' || !number_read(&name, &out->pidns)))
        return false;
    if (!skip(&name, SUFFIX))
        return false;
    out->temporary = skip(&name, TEMPORARY);
    return !*name;
}

static void out_pair(struct out *o, const char *key, uint64_t value)
{
    out_text(o, key);
    out_number(o, value);
}

void place_write_line(struct out *o, const struct place_line *line)
{
    out_pair(o, LINE, (uint64_t)line->who.pid);
    out_pair(o, " start=", line->who.start);
    out_text(o, " boot=");
    out_text(o, line->who.boot);
    out_pair(o, " pidns=", line->who.pidns);
    out_pair(o, " interval_ms=", line->interval_ms);
    out_pair(o, " keep=", line->keep);
    out_char(o, '\n');
}

static bool take_number(const char **at, const char *key, uint64_t *n)
{
    return skip(at, key) && number_read(at, n);
}

static bool take_word(const char **at, const char *key, char *word, size_t size)
{
    if (!skip(at, key))
        return false;
    size_t length = strcspn(*at, " \n");
    if (length >= size)
        return false;
    memcpy(word, *at, length);
    word[length] = '\0';
    *at += length;
    return true;
}

bool place_parse_line(const char *text, size_t length, struct place_line *out)
{
    char line[PLACE_LINE_MAX];
    const char *at = line;
    uint64_t keep;

    if (length > sizeof line - 1)
        length = sizeof line - 1;
    memcpy(line, text, length);
    line[length] = '\0';
    *out = (struct place_line){0};
    if (!skip(&at, LINE) || !take_pid(&at, &out->who.pid) ||
        !take_number(&at, " start=", &out->who.start) ||
        !take_word(&at, " boot=", out->who.boot, sizeof out->who.boot) ||
        !take_number(&at, " pidns=", &out->who.pidns) ||
        !take_number(&at, " interval_ms=", &out->interval_ms) ||
        !take_number(&at, " keep=", &keep) || *at != '\n')
        return false;
    out->keep = keep;
    return true;
}
