// record - rows of `tidepool top` for other programs: as JSON, one object a reading, and as CSV,
// one line a process.

#include <math.h>
#include <string.h>
#include <time.h>

#include "shim/base.h"
#include "shim/cli/common/out.h"
#include "shim/cli/top/top.h"

// What has a unit has it in its name; the others are counts since the process started.
static const struct {
    const char *name;
    size_t offset;
    int decimals;
} numbers[] = {
#define NUMBER(field, name, decimals)                                                              \
    {                                                                                              \
        name, offsetof(struct top_row, field), decimals                                            \
    }
    NUMBER(usage_ratio, "usage_ratio", 6),
    NUMBER(usage_bytes, "usage_bytes", 0),
    NUMBER(limit_bytes, "limit_bytes", 0),
    NUMBER(malloc_bytes, "malloc_bytes", 0),
    NUMBER(live_bytes, "live_bytes", 0),
    NUMBER(pooled_bytes, "pooled_bytes", 0),
    NUMBER(slack_bytes, "slack_bytes", 0),
    NUMBER(allocations, "allocations", 0),
    NUMBER(reused, "reused", 0),
    NUMBER(reuse_ratio, "reuse_ratio", 6),
    NUMBER(reclaims, "reclaims", 0),
    NUMBER(reclaims_per_s, "reclaims_per_second", 3),
    NUMBER(outside_bytes, "outside_bytes", 0),
#undef NUMBER
};

static double value(const struct top_row *r, unsigned i)
{
    double x;
    memcpy(&x, (const char *)r + numbers[i].offset, sizeof x);
    return x;
}

static const char *state(const struct top_row *r)
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
    return states[r->state];
}

enum { STAMP = 32 };

// Seconds since 1970.
static const char *stamp(char out[STAMP])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(out, STAMP, "%lld.%03ld", (long long)now.tv_sec, now.tv_nsec / 1000000);
    return out;
}

static void json_string(FILE *f, const char *name, const char *text)
{
    fprintf(f, "\"%s\":", name);
    out_json(f, text);
}

static void json_number(FILE *f, const char *name, double x, int decimals)
{
    if (isfinite(x))
        fprintf(f, ",\"%s\":%.*f", name, decimals, x);
    else
        fprintf(f, ",\"%s\":null", name);
}

static void json_row(FILE *f, const struct top_row *r)
{
    fprintf(f, "{\"pid\":%d,", (int)r->pid);
    json_string(f, "process", r->comm);
    fputc(',', f);
    json_string(f, "state", state(r));
    json_number(f, "resident_bytes", r->resident_bytes, 0);
    fputc(',', f);
    if (r->state != CONTROL_ASKED) {
        json_string(f, "why", r->why);
        fputc('}', f);
        return;
    }
    json_string(f, "service", r->service);
    fprintf(f, ",\"level\":");
    if (isnan(r->level))
        fputs("null", f);
    else
        fprintf(f, "\"%s\"", top_levels[(int)r->level]);
    for (unsigned i = 0; i < array_len(numbers); i++)
        json_number(f, numbers[i].name, value(r, i), numbers[i].decimals);
    fputs(",\"reclaims_by_cause\":{", f);
    for (unsigned i = 0; i < TOP_CAUSES; i++) {
        double n = r->reclaims_by[i];
        fprintf(f, "%s\"%s\":%.0f", i ? "," : "", top_causes[i], isfinite(n) ? n : 0);
    }
    fputs("}}", f);
}

void top_json(const struct top *t, FILE *f)
{
    char now[STAMP];
    fprintf(f, "{\"time\":%s,\"processes\":[", stamp(now));
    for (size_t i = 0; i < t->count; i++) {
        if (i)
            fputc(',', f);
        json_row(f, &t->row[i]);
    }
    fputs("]}\n", f);
}

// In quotes, on one line, and harmless on a terminal.
static void csv_text(FILE *f, const char *text)
{
    char plain[sizeof(struct top_row)];
    fputc('"', f);
    for (const char *at = out_plain_text(plain, sizeof plain, text); *at; at++)
        fputs(*at == '"' ? "\"\"" : (char[]){*at, '\0'}, f);
    fputc('"', f);
}

void top_csv_heading(FILE *f)
{
    fputs("time_seconds,pid,process,service,state,level,resident_bytes", f);
    for (unsigned i = 0; i < array_len(numbers); i++)
        fprintf(f, ",%s", numbers[i].name);
    fputc('\n', f);
}

static void csv_row(FILE *f, const char *now, const struct top_row *r)
{
    fprintf(f, "%s,%d,", now, (int)r->pid);
    csv_text(f, r->comm);
    fputc(',', f);
    csv_text(f, r->service);
    fprintf(f, ",%s,%s,", state(r), isnan(r->level) ? "" : top_levels[(int)r->level]);
    if (isfinite(r->resident_bytes))
        fprintf(f, "%.0f", r->resident_bytes);
    for (unsigned i = 0; i < array_len(numbers); i++) {
        fputc(',', f);
        if (isfinite(value(r, i)))
            fprintf(f, "%.*f", numbers[i].decimals, value(r, i));
    }
    fputc('\n', f);
}

void top_csv(const struct top *t, FILE *f)
{
    char now[STAMP];
    stamp(now);
    for (size_t i = 0; i < t->count; i++)
        csv_row(f, now, &t->row[i]);
}
