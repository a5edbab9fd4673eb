#include "export/labels.h"

#include <stdint.h>
#include <string.h>

#include "export/out.h"
#include "shim/base.h"

// Labels that our own series carry, or will: what a user called so would be lost or refused.
static const char *const reserved[] = {"pid",   "comm",   "pidns", "bucket",  "level",
                                       "cause", "kind",   "le",    "version", "quantile",
                                       "hint",  "result", "stack", "path"};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Length of the label name at the start; 0 where there is none.
static size_t name_length(const char *text)
{
    size_t n = 0;

    while (is_letter(text[n]) || (n && text[n] >= '0' && text[n] <= '9'))
        n++;
    return n;
}

static bool same(const char *a, size_t a_length, const char *b, size_t b_length)
{
    return a_length == b_length && memcmp(a, b, a_length) == 0;
}

static bool is_reserved(const char *name, size_t length)
{
    if (length >= 2 && name[0] == '_' && name[1] == '_')
        return true;
    for (unsigned i = 0; i < array_len(reserved); i++)
        if (same(name, length, reserved[i], strlen(reserved[i])))
            return true;
    return false;
}

static bool is_utf8(const char *text, size_t length)
{
    for (size_t n; length; text += n, length -= n)
        if (!(n = out_utf8(text, length)))
            return false;
    return true;
}

// In quotes a value is written as it will be in the file; NULL where it is not. `at` is behind the
// opening quote, the result on the closing one.
static const char *quoted_end(const char *at)
{
    for (; *at != '"'; at++) {
        if (*at == '\\' && !strchr("\\\"n", *++at))
            return NULL;
        if (!*at)
            return NULL;
    }
    return at;
}

// One NAME=VALUE; returns what follows it, NULL where it is wrong.
static const char *take_pair(struct out *o, const char *at, size_t length)
{
    const char *end;
    bool quoted;

    out_bytes(o, at, length);
    at += length;
    if (*at++ != '=')
        return NULL;
    quoted = *at == '"';
    at += quoted;
    end = quoted ? quoted_end(at) : at + strcspn(at, ",");
    if (!end || end == at || !is_utf8(at, (size_t)(end - at)))
        return NULL;
    out_text(o, "=\"");
    if (!quoted)
        out_escaped(o, at, (size_t)(end - at));
    for (; quoted && at < end; at++) {
        if (*at == '\n') // as it comes out of a shell's quotes
            out_text(o, "\\n");
        else
            out_char(o, *at);
    }
    out_char(o, '"');
    return end + quoted;
}

bool labels_parse(const char *text, char out[LABELS_TEXT_MAX])
{
    struct out o = out_begin(out, LABELS_TEXT_MAX - 1, "");
    struct {
        const char *name;
        size_t length;
    } seen[LABELS_MAX];
    unsigned count = 0;

    do {
        size_t length = name_length(text);
        if (!length || is_reserved(text, length) || count == LABELS_MAX)
            return false;
        for (unsigned i = 0; i < count; i++)
            if (same(text, length, seen[i].name, seen[i].length))
                return false;
        seen[count].name = text;
        seen[count++].length = length;
        if (count > 1)
            out_char(&o, ',');
        text = take_pair(&o, text, length);
        if (!text || o.full)
            return false;
        // Behind a comma there is another one.
    } while (*text++ == ',');
    *o.at = '\0';
    return text[-1] == '\0';
}
