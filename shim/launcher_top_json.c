// launcher_top_json - rows of `tidepool top` as JSON: one object, one line.

#include <math.h>
#include <string.h>
#include <time.h>

#include "shim/launcher_top.h"

// How many bytes of a well-formed UTF-8 character begin here; 0 where none does.
static size_t character(const unsigned char *s)
{
    static const struct {
        unsigned char mask, lead;
        unsigned least;
    } forms[] = {{0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t more = 1; more <= 3; more++) {
        if ((s[0] & forms[more - 1].mask) != forms[more - 1].lead)
            continue;
        unsigned code = s[0] & (unsigned char)~forms[more - 1].mask;
        for (size_t i = 1; i <= more; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (s[i] & 0x3f);
        }
        bool surrogate = code >= 0xd800 && code < 0xe000;
        return code >= forms[more - 1].least && code < 0x110000 && !surrogate ? more + 1 : 0;
    }
    return 0;
}

static void string(FILE *f, const char *name, const char *value)
{
    fprintf(f, "\"%s\":\"", name);
    for (const unsigned char *s = (const unsigned char *)value; *s; s++) {
        size_t n;
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if (*s < ' ' || *s == 0x7f)
            fprintf(f, "\\u%04x", *s);
        else if (*s < 0x80)
            fputc(*s, f);
        else if (!(n = character(s)))
            fputs("\\ufffd", f);
        else if (s[0] == 0xc2 && s[1] < 0xa0) // a terminal's control characters, the second set
            fprintf(f, "\\u%04x", s[1]), s++;
        else
            fwrite(s, 1, n, f), s += n - 1;
    }
    fputc('"', f);
}

static void number(FILE *f, const char *name, double x, unsigned decimals)
{
    if (isfinite(x))
        fprintf(f, ",\"%s\":%.*f", name, (int)decimals, x);
    else
        fprintf(f, ",\"%s\":null", name);
}

static void row(FILE *f, const struct top_row *r)
{
    static const char *const states[] = {
        [CONTROL_ASKED] = "ok",
        [CONTROL_GONE] = "gone",
        [CONTROL_DENIED] = "denied",
        [CONTROL_CLOSED] = "no channel",
        [CONTROL_ELSEWHERE] = "elsewhere",
        [CONTROL_SILENT] = "silent",
        [CONTROL_FAILED] = "failed",
    };
    fprintf(f, "{\"pid\":%d,", (int)r->pid);
    string(f, "process", r->comm);
    fputc(',', f);
    string(f, "state", states[r->state]);
    if (r->state != CONTROL_ASKED) {
        fputc(',', f);
        string(f, "why", r->why);
        fputc('}', f);
        return;
    }
    fputc(',', f);
    string(f, "service", r->service);
    fprintf(f, ",\"level\":");
    if (isnan(r->level))
        fputs("null", f);
    else
        fprintf(f, "\"%s\"", top_levels[(int)r->level]);
    number(f, "usage_ratio", r->usage_ratio, 6);
    number(f, "usage_bytes", r->usage_bytes, 0);
    number(f, "limit_bytes", r->limit_bytes, 0);
    number(f, "live_bytes", r->live_bytes, 0);
    number(f, "pooled_bytes", r->pooled_bytes, 0);
    number(f, "slack_bytes", r->slack_bytes, 0);
    number(f, "allocations", r->allocations, 0);
    number(f, "reused", r->reused, 0);
    number(f, "reuse_ratio", r->reuse_ratio, 6);
    number(f, "reclaims", r->reclaims, 0);
    number(f, "reclaims_per_second", r->reclaims_per_s, 3);
    fputs(",\"reclaims_by_cause\":{", f);
    for (unsigned i = 0; i < TOP_CAUSES; i++) {
        double n = r->reclaims_by[i];
        fprintf(f, "%s\"%s\":%.0f", i ? "," : "", top_causes[i], isfinite(n) ? n : 0);
    }
    fputs("}}", f);
}

void top_json(const struct top *t, FILE *f)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    fprintf(f, "{\"time\":%lld.%03ld,\"processes\":[", (long long)now.tv_sec,
            now.tv_nsec / 1000000);
    for (size_t i = 0; i < t->count; i++) {
        if (i)
            fputc(',', f);
        row(f, &t->row[i]);
    }
    fputs("]}\n", f);
}
