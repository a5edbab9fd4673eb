// sort - the columns of `tidepool top`, and the words in them.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/top/top.h"

const char *const top_causes[TOP_CAUSES] = {"watchdog", "assist", "api"};
const char *const top_levels[4] = {"normal", "moderate", "high", "critical"};

const struct top_column top_columns[TOP_COLUMNS] = {
    [TOP_PROCESS] = {"process", 'n', true},    [TOP_PID] = {"pid", 'p', true},
    [TOP_LEVEL] = {"level", 'l', false},       [TOP_USAGE] = {"usage", 'u', false},
    [TOP_LIVE] = {"live", 'm', false},         [TOP_POOLED] = {"pooled", 'f', false},
    [TOP_SLACK] = {"slack", 's', false},       [TOP_REUSE] = {"reuse", 'r', false},
    [TOP_RECLAIMS] = {"reclaims", 'c', false}, [TOP_RATE] = {"rate", 't', false},
};

int top_column_find(const char *name)
{
    for (int i = 0; i < TOP_COLUMNS; i++)
        if (strcmp(top_columns[i].name, name) == 0)
            return i;
    return -1;
}

static double value(const struct top_row *r, enum top_sort by)
{
    switch (by) {
    case TOP_LEVEL:
        return r->level;
    case TOP_USAGE:
        return r->usage_ratio;
    case TOP_LIVE:
        return r->malloc_bytes;
    case TOP_POOLED:
        return r->pooled_bytes;
    case TOP_SLACK:
        return r->slack_bytes;
    case TOP_REUSE:
        return r->reuse_ratio;
    case TOP_RECLAIMS:
        return r->reclaims;
    case TOP_RATE:
        return r->reclaims_per_s;
    default:
        return (double)r->pid;
    }
}

struct order {
    enum top_sort by;
    int way;
};

static int compare(const void *a, const void *b, void *arg)
{
    const struct top_row *x = a, *y = b;
    const struct order *o = arg;
    double u = value(x, o->by), v = value(y, o->by);
    // In either order, processes that did not answer are at the end.
    if (isnan(u) != isnan(v))
        return isnan(u) ? 1 : -1;
    int d = o->by == TOP_PROCESS ? strcmp(x->comm, y->comm) : (u > v) - (u < v);
    // Equal ones do not change places from one reading to the next.
    return d ? d * o->way : (x->pid > y->pid) - (x->pid < y->pid);
}

void top_sort(struct top *t, enum top_sort by, bool turned)
{
    struct order o = {by, top_columns[by].ascending != turned ? 1 : -1};
    if (t->count)
        qsort_r(t->row, t->count, sizeof *t->row, compare, &o);
}
