// TIDEPOOL_LABELS: what is taken, what is refused, and what comes out between a series' braces.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "export/labels.h"

struct row {
    char text[120];
    char out[120]; // empty: refused
};

ParameterizedTestParameters(labels, parse)
{
    static struct row rows[] = {
        {"service=api", "service=\"api\""},
        {"service=api,shard=3", "service=\"api\",shard=\"3\""},
        {"_a9=x y=z", "_a9=\"x y=z\""},
        {"a=\"x,y\",b=2", "a=\"x,y\",b=\"2\""},
        {"a=\"q\\\"b\\\\n\\n\"", "a=\"q\\\"b\\\\n\\n\""},
        {"a=say \"hi\"", "a=\"say \\\"hi\\\"\""},
        {"a=back\\slash", "a=\"back\\\\slash\""},
        {"a=two\nlines,b=\"two\nlines\"", "a=\"two\\nlines\",b=\"two\\nlines\""},
        {"ort=K\xc3\xb6ln \xe6\xbc\xa2 \xf0\x9f\x8c\x8a",
         "ort=\"K\xc3\xb6ln \xe6\xbc\xa2 \xf0\x9f\x8c\x8a\""},
        // Names.
        {"", ""},
        {"=x", ""},
        {"9a=x", ""},
        {"a-b=x", ""},
        {"a.b=x", ""},
        {"\xc3\xa4=x", ""},
        {" a=x", ""},
        {"__a=x", ""},
        {"_=x", "_=\"x\""},
        {"pid=1", ""},
        {"comm=x", ""},
        {"pidns=x", ""},
        {"bucket=x", ""},
        {"level=x", ""},
        {"cause=x", ""},
        {"le=x", ""},
        {"quantile=x", ""},
        {"levels=x", "levels=\"x\""},
        {"a=1,a=2", ""},
        {"a=1,b=2,a=3", ""},
        // Shape.
        {"a", ""},
        {"a=", ""},
        {"a=\"\"", ""},
        {"a=1,", ""},
        {",a=1", ""},
        {"a=1,,b=2", ""},
        {"a=\"x", ""},
        {"a=\"x\\", ""},
        {"a=\"x\\\"", ""},
        {"a=\"x\\t\"", ""},
        {"a=\"x\"y", ""},
        {"a=\"x\"b=1", ""},
        // No UTF-8: a stray byte, a cut one, an overlong one, a surrogate, too large.
        {"a=\x80", ""},
        {"a=\xc3", ""},
        {"a=\xc3,b=1", ""},
        {"a=\xc0\xaf", ""},
        {"a=\xed\xa0\x80", ""},
        {"a=\xf4\x90\x80\x80", ""},
        {"a=\xff", ""},
        {"a=\"\xe6\xbc\"", ""},
    };
    return cr_make_param_array(struct row, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct row *r, labels, parse)
{
    char out[LABELS_TEXT_MAX] = "";
    bool taken = labels_parse(r->text, out);

    cr_assert(eq(int, taken, r->out[0] != '\0'), "\"%s\"", r->text);
    if (taken)
        cr_expect(eq(str, out, r->out));
}

Test(labels, a_text_as_long_as_there_is_room_is_taken_and_no_longer_one)
{
    char text[2 * LABELS_TEXT_MAX] = "a=", out[LABELS_TEXT_MAX];
    size_t room = LABELS_TEXT_MAX - 1 - strlen("a=\"\"");

    memset(text + 2, 'x', room);
    cr_expect(labels_parse(text, out));
    cr_expect(eq(sz, strlen(out), LABELS_TEXT_MAX - 1));
    text[2 + room] = 'x';
    cr_expect(not(labels_parse(text, out)));
    // Escapes take room, too.
    memset(text + 2, '"', sizeof text - 3);
    text[2] = 'x';
    text[2 + room / 2 + 2] = '\0';
    cr_expect(not(labels_parse(text, out)));
}

Test(labels, there_are_sixteen_at_most)
{
    char text[200] = "", out[LABELS_TEXT_MAX];

    for (int i = 0; i < LABELS_MAX; i++) {
        char pair[] = ",a=x";
        pair[1] = (char)('a' + i);
        strcat(text, pair + !i);
    }
    cr_expect(labels_parse(text, out));
    strcat(text, ",z=x");
    cr_expect(not(labels_parse(text, out)));
}
