// What a process answers `tidepool top`, and any numbers and names in a row: no line is longer than
// it may be, and nothing but what is harmless gets to a terminal or into JSON.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/top/prom.h"
#include "shim/cli/top/top.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        __builtin_trap();
}

static void check_text(const char *text)
{
    struct prom_sample s;
    char label[8];
    const char *at = text, *last = text;
    while (prom_next(&at, &s)) {
        must(at > last && !isnan(s.value) && s.name_length > 0);
        last = at;
        must(prom_label(&s, "service", label, sizeof label) || !*label);
        must(strlen(label) < sizeof label);
    }
}

// Printable, but for the colours, each of which ends with an m.
static void check_line(const char *line, unsigned width)
{
    unsigned columns = 0;
    for (; *line; line++) {
        if (*line == '\033')
            line += strcspn(line, "m");
        else
            columns++;
        must(*line >= ' ' && *line <= '~');
    }
    must(columns <= width);
}

static void check_json(const struct top *t)
{
    char *text = NULL;
    size_t length = 0;
    FILE *f = open_memstream(&text, &length);
    must(f != NULL);
    top_json(t, f);
    must(fclose(f) == 0);
    for (size_t i = 0; i + 1 < length; i++)
        must((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
    must(length > 0 && text[length - 1] == '\n' && !strstr(text, "nan") && !strstr(text, "inf"));
    free(text);
}

static void check_row(const uint8_t *data, size_t size)
{
    static const unsigned widths[] = {0, 1, 17, 79, 80, 81, 133, 400};
    struct top_row row;
    char line[1024];
    memset(&row, 0, sizeof row);
    memcpy(&row, data, size < sizeof row ? size : sizeof row);
    row.comm[sizeof row.comm - 1] = row.service[sizeof row.service - 1] = '\0';
    row.why[sizeof row.why - 1] = '\0';
    row.state = (enum control_state)((unsigned)row.state % (CONTROL_FAILED + 1));
    // As reading leaves it.
    if (!(row.level >= 0))
        row.level = NAN;
    if (row.level > 3)
        row.level = 3;
    struct top t = {.row = &row, .count = 1};
    for (unsigned i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (int colours = 0; colours < 2; colours++) {
            check_line(top_line(&row, colours, line, sizeof line, widths[i]), widths[i]);
            check_line(top_summary(&t, line, sizeof line, widths[i]), widths[i]);
            check_line(
                top_heading((enum top_sort)(row.pid % TOP_COLUMNS + TOP_COLUMNS) % TOP_COLUMNS,
                            colours, line, sizeof line, widths[i]),
                widths[i]);
        }
    // The words "nan" and "inf" may be names.
    memset(row.comm, 'x', 3);
    memset(row.service, 'x', 3);
    memset(row.why, 'x', 3);
    row.comm[3] = row.service[3] = row.why[3] = '\0';
    check_json(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    check_text(text);
    free(text);
    check_row(data, size);
    return 0;
}
