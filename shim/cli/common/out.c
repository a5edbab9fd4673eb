// out - decodes UTF-8 strictly; everything else follows from the code points.

#include "shim/cli/common/out.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BROKEN = 0xfffd };

// Overlong forms, surrogates and what is above U+10FFFF are broken, a byte at a time.
static uint32_t next_point(const char **text)
{
    const unsigned char *p = (const unsigned char *)*text;
    unsigned extra = *p < 0x80   ? 0
                     : *p < 0xc2 ? 9
                     : *p < 0xe0 ? 1
                     : *p < 0xf0 ? 2
                     : *p < 0xf5 ? 3
                                 : 9;
    uint32_t point = extra == 0 ? *p : *p & (0x3fu >> extra);
    for (unsigned i = 1; extra < 9 && i <= extra; i++) {
        if ((p[i] & 0xc0) != 0x80)
            extra = 9;
        else
            point = point << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (extra == 9 || point < least[extra] || point > 0x10ffff || (point & ~0x7ffu) == 0xd800) {
        *text += 1;
        return BROKEN;
    }
    *text += 1 + extra;
    return point;
}

static bool harmless(uint32_t c)
{
    return c >= 0x20 && !(c >= 0x7f && c < 0xa0) && !(c >= 0x200b && c <= 0x200f) &&
           !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff &&
           c != BROKEN;
}

size_t out_plain(FILE *f, const char *text, size_t columns)
{
    size_t points = 0, used = 0;
    for (const char *p = text; *p; points++)
        next_point(&p);
    size_t most = points > columns ? (columns > 3 ? columns - 3 : 0) : points;
    for (const char *p = text, *from = p; used < most; used++, from = p) {
        if (harmless(next_point(&p)))
            fwrite(from, 1, (size_t)(p - from), f);
        else
            fputc('?', f);
    }
    for (; points > columns && used < columns; used++)
        fputc('.', f);
    return used;
}

const char *out_plain_text(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (const char *p = text, *from = p; *p; from = p) {
        bool harm = !harmless(next_point(&p));
        size_t n = harm ? 1 : (size_t)(p - from);
        if (n >= size - used)
            break;
        memcpy(out + used, harm ? "?" : from, n);
        used += n;
    }
    out[used] = '\0';
    return out;
}

void out_json(FILE *f, const char *text)
{
    fputc('"', f);
    for (const char *p = text, *from = p; *p; from = p) {
        uint32_t c = next_point(&p);
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", (char)c);
        else if (c == '<' || c == '>' || c == '&' || (c != BROKEN && !harmless(c)))
            fprintf(f, "\\u%04" PRIx32, c);
        else if (c == BROKEN)
            fputs("\\ufffd", f);
        else
            fwrite(from, 1, (size_t)(p - from), f);
    }
    fputc('"', f);
}

bool out_may_colour(void)
{
    const char *none = getenv("NO_COLOR");
    return !none || !*none;
}

uint64_t out_whole(double x)
{
    return x < 0 ? 0 : x < 0x1p53 ? (uint64_t)(x + 0.5) : (uint64_t)1 << 53;
}

static const char *put_size(char *room, const char *form, double bytes)
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    // What would be written as 1024.0 is one of the next unit.
    for (; fabs(bytes) >= (unit ? 1023.95 : 1023.5) && unit + 2 < sizeof units; unit++)
        bytes /= 1024;
    snprintf(room, OUT_SIZE_MAX, form, unit ? 1 : 0, bytes, units[unit]);
    return room;
}

const char *out_size(char room[OUT_SIZE_MAX], double bytes)
{
    return put_size(room, "%.*f%c", bytes);
}

const char *out_change(char room[OUT_SIZE_MAX], double bytes)
{
    return put_size(room, "%+.*f%c", bytes);
}
