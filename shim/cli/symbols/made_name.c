// made_name - V8's names taken apart, HotSpot's told apart.

#include "shim/cli/symbols/made_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base.h"

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool begins_with_one(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (begins(text, list[i]))
            return true;
    return false;
}

// Behind the tag and the compiler's mark; NULL where it is no JavaScript.
static const char *javascript(const char *text)
{
    static const char *const tags[] = {"JS:", "LazyCompile:", "Function:", "Script:", "Eval:"};
    for (size_t i = 0; i < array_len(tags); i++)
        if (begins(text, tags[i])) {
            text += strlen(tags[i]);
            return text + strspn(text, "~^*+'-");
        }
    return NULL;
}

// Where the file begins: both names and files may have blanks in them.
static const char *file_of(const char *text)
{
    static const char *const starts[] = {" /", " node:", " file:"};
    for (const char *p = text; (p = strchr(p, ' ')); p++)
        if (begins_with_one(p, starts, array_len(starts)))
            return p;
    const char *last = strrchr(text, ' ');
    return last ? last : text + strlen(text);
}

// Takes ":NUMBER" off the end; 0 where there is none.
static unsigned take_number(char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")])
        return 0;
    *colon = '\0';
    return (unsigned)strtoul(colon + 1, NULL, 10);
}

static void take_javascript(struct made_name *m, const char *text)
{
    const char *file = file_of(text);
    int length = (int)(file - text);
    snprintf(m->function, sizeof m->function, "%.*s", length ? length : 11,
             length ? text : "(anonymous)");
    snprintf(m->file, sizeof m->file, "%s", *file ? file + 1 : file);
    unsigned column = take_number(m->file), line = take_number(m->file);
    m->line = line ? line : column;
    m->kind = begins(m->file, "node:") ? MADE_LIBRARY : MADE_OWN;
}

// A method's class stands between the result and the arguments; a stub has neither.
static enum made_kind kind_in_jvm(const char *text)
{
    static const char *const jdk[] = {"java.", "javax.", "jdk.", "sun.", "com.sun."};
    size_t end = strcspn(text, "("), start = end;
    while (start && text[start - 1] != ' ')
        start--;
    if (!text[end] || start == end)
        return MADE_STUB;
    return begins_with_one(text + start, jdk, array_len(jdk)) ? MADE_LIBRARY : MADE_OWN;
}

static enum made_kind kind_elsewhere(const char *text)
{
    static const char *const of_v8[] = {"Builtin:", "BytecodeHandler:", "Stub:", "RegExp:"};
    return begins_with_one(text, of_v8, array_len(of_v8)) ? MADE_STUB : MADE_OWN;
}

void made_name_parse(struct made_name *m, const char *text, bool is_jvm)
{
    const char *script = javascript(text);
    *m = (struct made_name){0};
    if (script) {
        take_javascript(m, script);
        return;
    }
    snprintf(m->function, sizeof m->function, "%s", text);
    m->kind = is_jvm ? kind_in_jvm(text) : kind_elsewhere(text);
}
