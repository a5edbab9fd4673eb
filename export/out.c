#include "export/out.h"
#include "shim/number.h"

#include <string.h>

void out_bytes(struct out *o, const char *text, size_t length)
{
    if (o->full || (size_t)(o->end - o->at) < length) {
        o->full = true;
        return;
    }
    memcpy(o->at, text, length);
    o->at += length;
}

void out_text(struct out *o, const char *text)
{
    out_bytes(o, text, strlen(text));
}

void out_char(struct out *o, char c)
{
    out_bytes(o, &c, 1);
}

void out_number(struct out *o, uint64_t n)
{
    char digits[NUMBER_DIGITS_MAX];
    const char *end = number_write(digits, n);

    out_bytes(o, digits, (size_t)(end - digits));
}

void out_fixed(struct out *o, uint64_t n, unsigned decimals)
{
    char digits[20];

    if (n == UINT64_MAX) {
        out_text(o, "+Inf");
        return;
    }
    for (unsigned i = decimals; i > 0; i--, n /= 10)
        digits[i - 1] = (char)('0' + n % 10);
    out_number(o, n);
    while (decimals && digits[decimals - 1] == '0')
        decimals--;
    if (!decimals)
        return;
    out_char(o, '.');
    out_bytes(o, digits, decimals);
}

size_t out_utf8(const char *text, size_t length)
{
    const unsigned char *b = (const unsigned char *)text;
    // The smallest code point that needs that number of bytes.
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = b[0] < 0x80   ? 1
               : b[0] < 0xc0 ? 0
               : b[0] < 0xe0 ? 2
               : b[0] < 0xf0 ? 3
               : b[0] < 0xf8 ? 4
                             : 0;
    if (n < 2 || n > length)
        return n > length ? 0 : n;
    uint32_t point = b[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (b[i] & 0x3f);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[n] || point > 0x10ffff || surrogate ? 0 : n;
}

void out_escaped(struct out *o, const char *text, size_t length)
{
    while (length) {
        size_t n = out_utf8(text, length);
        if (*text == '\n')
            out_text(o, "\\n");
        else if (*text == '"' || *text == '\\')
            out_bytes(o, *text == '"' ? "\\\"" : "\\\\", 2);
        else if (n)
            out_bytes(o, text, n);
        else
            out_char(o, '?');
        n += !n;
        text += n;
        length -= n;
    }
}

void out_series(struct out *o, const char *name, const char *suffix, const char *label,
                const char *value, uint64_t n, unsigned decimals)
{
    out_text(o, name);
    out_text(o, suffix);
    out_char(o, '{');
    out_text(o, o->labels);
    if (label) {
        out_char(o, ',');
        out_text(o, label);
        out_text(o, "=\"");
        out_text(o, value);
        out_char(o, '"');
    }
    out_text(o, "} ");
    out_fixed(o, n, decimals);
    out_char(o, '\n');
}
