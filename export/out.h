// out - Prometheus' text format 0.0.4, written into a fixed buffer.
//
// Pure: no allocation, no stdio, no locale, no state but the struct. What does not fit is not
// written at all from there on, and `full` says so: half a file is worse than none.
#ifndef TIDEPOOL_EXPORT_OUT_H
#define TIDEPOOL_EXPORT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out {
    char *at, *end;
    bool full;
    const char *labels; // of every series: pid="1",comm="x"; at least one
};

static inline struct out out_begin(char *buf, size_t size, const char *labels)
{
    return (struct out){.at = buf, .end = buf + size, .full = false, .labels = labels};
}

void out_text(struct out *o, const char *text);
void out_bytes(struct out *o, const char *text, size_t length);
void out_char(struct out *o, char c);
void out_number(struct out *o, uint64_t n);

// n / 10^decimals, at most 20; UINT64_MAX is +Inf. No exponent, no needless zeros.
void out_fixed(struct out *o, uint64_t n, unsigned decimals);

// The text inside a label value's quotes: \ " and newline escaped, what is no UTF-8 replaced by ?.
void out_escaped(struct out *o, const char *text, size_t length);

// One line: NAME SUFFIX { labels, LABEL="VALUE" } n / 10^decimals. `label` may be NULL; `value` is
// written as it is.
void out_series(struct out *o, const char *name, const char *suffix, const char *label,
                const char *value, uint64_t n, unsigned decimals);

// Bytes of the UTF-8 character at `text`, 1 to 4; 0 where there is none: a stray or missing byte,
// a longer form than needed, a surrogate, beyond U+10FFFF.
size_t out_utf8(const char *text, size_t length);

#endif
