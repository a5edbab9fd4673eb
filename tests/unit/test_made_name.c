// Names of code that runtimes make, as their lines in perf-PID.map have them.

#include <criterion/criterion.h>
#include <string.h>

#include "shim/cli/symbols/made_name.h"

struct example {
    const char *text, *function, *file;
    unsigned line;
    bool is_jvm;
    enum made_kind kind;
};

static const struct example examples[] = {
    {"JS:*fills /srv/app.js:5:19", "fills", "/srv/app.js", 5, false, MADE_OWN},
    {"LazyCompile:~get size /a b/c.js:1:2", "get size", "/a b/c.js", 1, false, MADE_OWN},
    {"JS:^load file:///srv/m.mjs:10:3", "load", "file:///srv/m.mjs", 10, false, MADE_OWN},
    {"Eval:~ /srv/app.js:1:1", "(anonymous)", "/srv/app.js", 1, false, MADE_OWN},
    {"JS:*FastBuffer node:internal/buffer:960:14", "FastBuffer", "node:internal/buffer", 960, false,
     MADE_LIBRARY},
    {"JS:~eval1 evalmachine.<anonymous>:3:1", "eval1", "evalmachine.<anonymous>", 3, false,
     MADE_OWN},
    {"JS:~f", "f", "", 0, false, MADE_OWN},
    {"JS:", "(anonymous)", "", 0, false, MADE_OWN},
    {"Builtin:ArrayMap", "Builtin:ArrayMap", "", 0, false, MADE_STUB},
    {"py::f:/srv/app.py", "py::f:/srv/app.py", "", 0, false, MADE_OWN},
    {"void Cache.fills(int)", "void Cache.fills(int)", "", 0, true, MADE_OWN},
    {"java.nio.ByteBuffer com.shop.Cache.load(java.lang.String)",
     "java.nio.ByteBuffer com.shop.Cache.load(java.lang.String)", "", 0, true, MADE_OWN},
    {"void java.nio.DirectByteBuffer.<init>(int)", "void java.nio.DirectByteBuffer.<init>(int)", "",
     0, true, MADE_LIBRARY},
    {"StubRoutines (1)", "StubRoutines (1)", "", 0, true, MADE_STUB},
    {"Interpreter", "Interpreter", "", 0, true, MADE_STUB},
    {"", "", "", 0, true, MADE_STUB},
};

static void check(const struct example *e)
{
    struct made_name m;

    made_name_parse(&m, e->text, e->is_jvm);
    cr_expect(strcmp(m.function, e->function) == 0, "%s: function %s", e->text, m.function);
    cr_expect(strcmp(m.file, e->file) == 0, "%s: file %s", e->text, m.file);
    cr_expect(m.line == e->line && m.kind == e->kind, "%s: line %u, kind %d", e->text, m.line,
              m.kind);
}

Test(made_name, is_taken_apart)
{
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        check(&examples[i]);
}

Test(made_name, too_long_is_cut)
{
    static char text[4 * MADE_NAME_MAX] = "JS:";
    static struct made_name m;

    memset(text + 3, 'x', sizeof text - 4);
    made_name_parse(&m, text, false);
    cr_assert(strlen(m.function) == MADE_NAME_MAX - 1);
    text[100] = ' ';
    text[101] = '/';
    made_name_parse(&m, text, false);
    cr_assert(strlen(m.function) == 97 && strlen(m.file) == MADE_NAME_MAX - 1);
}
