// prom - see prom.h.

#include "shim/cli/top/prom.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Behind the value's closing quote; NULL where there is none on this line. `out` may be NULL.
static const char *read_value(const char *at, char *out, size_t size)
{
    size_t n = 0;
    for (; *at && *at != '\n' && *at != '"'; at++) {
        char c = *at;
        if (c == '\\' && at[1] && at[1] != '\n') {
            at++;
            c = *at == 'n' ? '\n' : *at;
        }
        if (out && n + 1 < size)
            out[n++] = c;
    }
    if (out && size)
        out[n] = '\0';
    return *at == '"' ? at + 1 : NULL;
}

// name="value", at `at`; what is behind it and its comma, NULL where that is no label.
static const char *read_label(const char *at, const char **name, size_t *length, char *out,
                              size_t size)
{
    *name = at;
    *length = strcspn(at, "=},\" \n");
    at += *length;
    if (!*length || at[0] != '=' || at[1] != '"')
        return NULL;
    at = read_value(at + 2, out, size);
    return at && *at == ',' ? at + 1 : at;
}

static const char *skip_labels(const char *at)
{
    const char *name;
    size_t length;
    while (at && *at != '}')
        at = read_label(at, &name, &length, NULL, 0);
    return at ? at + 1 : NULL;
}

// One line.
static bool read_sample(const char *line, struct prom_sample *s)
{
    *s = (struct prom_sample){.name = line, .name_length = strcspn(line, "{ \n#"), .labels = ""};
    const char *at = line + s->name_length;
    if (!s->name_length)
        return false;
    if (*at == '{') {
        s->labels = at + 1;
        at = skip_labels(at + 1);
    }
    if (!at || *at != ' ')
        return false;
    char *end;
    s->value = strtod(at + 1, &end);
    return end != at + 1 && (*end == '\n' || !*end) && !isnan(s->value);
}

bool prom_next(const char **text, struct prom_sample *s)
{
    while (**text) {
        const char *line = *text;
        *text += strcspn(line, "\n");
        *text += **text == '\n';
        if (read_sample(line, s))
            return true;
    }
    return false;
}

bool prom_is(const struct prom_sample *s, const char *name)
{
    return strlen(name) == s->name_length && strncmp(s->name, name, s->name_length) == 0;
}

bool prom_label(const struct prom_sample *s, const char *label, char *out, size_t size)
{
    const char *name;
    size_t length;
    for (const char *at = s->labels; at && *at && *at != '}';) {
        at = read_label(at, &name, &length, out, size);
        if (at && length == strlen(label) && strncmp(name, label, length) == 0)
            return true;
    }
    out[0] = '\0';
    return false;
}
