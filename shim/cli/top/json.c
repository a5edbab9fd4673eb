// json - rows of `tidepool top` as JSON: one object, one line.

#include <math.h>
#include <time.h>

#include "shim/cli/common/out.h"
#include "shim/cli/top/top.h"

static void string(FILE *f, const char *name, const char *value)
{
    fprintf(f, "\"%s\":", name);
    out_json(f, value);
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
    number(f, "resident_bytes", r->resident_bytes, 0);
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
