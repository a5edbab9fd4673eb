// TIDEPOOL_LABELS with any text: what is taken must be lines' innards that Prometheus reads, whole,
// and taken again, with the same outcome, when it is read as written.

#include <stdint.h>
#include <string.h>

#include "export/labels.h"
#include "export/out.h"
#include "shim/base.h"

// Quotes open and close, escapes are known ones, nothing ends a line, and all of it is UTF-8.
static void check(const char *out)
{
    size_t length = strlen(out);
    bool quoted = false;

    MUST(length > 0 && length < LABELS_TEXT_MAX);
    for (size_t i = 0, n; i < length; i += n) {
        n = out_utf8(out + i, length - i);
        MUST(n > 0);
        MUST(out[i] != '\n');
        if (out[i] == '\\') {
            MUST(quoted && strchr("\\\"n", out[i + 1]) && out[i + 1]);
            n = 2;
        } else if (out[i] == '"') {
            quoted = !quoted;
        } else {
            MUST(quoted || n == 1);
        }
    }
    MUST(!quoted && out[length - 1] == '"');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[4096], out[LABELS_TEXT_MAX], again[LABELS_TEXT_MAX];

    if (size > sizeof text - 1)
        size = sizeof text - 1;
    memcpy(text, data, size);
    text[size] = '\0';
    if (!labels_parse(text, out))
        return 0;
    check(out);
    MUST(labels_parse(out, again));
    MUST(strcmp(out, again) == 0);
    return 0;
}
