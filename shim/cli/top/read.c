// read - rows of `tidepool top` from what the processes answer.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/cli/common/cli.h"
#include "shim/cli/top/prom.h"
#include "shim/cli/top/top.h"
#include "shim/config/parse.h"

// A process answers within 250 ms of its thread's sleep; the rest is for a loaded machine.
enum { PATIENCE_MS = 1500 };

// Families as the process names them, and where their sum belongs. One without a sum over buckets
// has one sample, which is its own sum.
static const struct field {
    const char *family;
    size_t offset;
} fields[] = {
    {"tidepool_memory_pressure_level", offsetof(struct top_row, level)},
    {"tidepool_memory_usage_ratio", offsetof(struct top_row, usage_ratio)},
    {"tidepool_memory_usage_bytes", offsetof(struct top_row, usage_bytes)},
    {"tidepool_memory_limit_bytes", offsetof(struct top_row, limit_bytes)},
    {"tidepool_pool_live_bytes", offsetof(struct top_row, live_bytes)},
    {"tidepool_pool_free_bytes", offsetof(struct top_row, pooled_bytes)},
    {"tidepool_pool_slack_bytes", offsetof(struct top_row, slack_bytes)},
    {"tidepool_memory_outside_bytes", offsetof(struct top_row, outside_bytes)},
    {"tidepool_jemalloc_allocated_bytes", offsetof(struct top_row, allocated_bytes)},
    {"tidepool_pool_allocations_total", offsetof(struct top_row, allocations)},
    {"tidepool_pool_reused_total", offsetof(struct top_row, reused)},
};

static double *at(struct top_row *row, size_t offset)
{
    return (double *)(void *)((char *)row + offset);
}

static void add(double *sum, double value)
{
    // Whatever the sender says, a number is what it counts.
    if (value >= 0)
        *sum = isnan(*sum) ? value : *sum + value;
}

static void forget_numbers(struct top_row *row)
{
    for (unsigned i = 0; i < array_len(fields); i++)
        *at(row, fields[i].offset) = NAN;
    for (unsigned i = 0; i < TOP_CAUSES; i++)
        row->reclaims_by[i] = NAN;
    row->malloc_bytes = row->reclaims = row->reuse_ratio = row->reclaims_per_s = NAN;
}

static void take_sample(struct top_row *row, const struct prom_sample *s)
{
    char cause[16];
    for (unsigned i = 0; i < array_len(fields); i++)
        if (prom_is(s, fields[i].family))
            add(at(row, fields[i].offset), s->value);
    if (!prom_is(s, "tidepool_memory_reclaims_total"))
        return;
    add(&row->reclaims, s->value);
    prom_label(s, "cause", cause, sizeof cause);
    for (unsigned i = 0; i < TOP_CAUSES; i++)
        if (strcmp(cause, top_causes[i]) == 0)
            add(&row->reclaims_by[i], s->value);
}

static void take_answer(struct top_row *row, const char *text)
{
    struct prom_sample s;
    bool named = false;
    while (prom_next(&text, &s)) {
        named = named || prom_label(&s, "service", row->service, sizeof row->service);
        take_sample(row, &s);
    }
    if (row->level > 3)
        row->level = 3;
    // The pools' own is read before jemalloc's.
    row->malloc_bytes = fmax(row->live_bytes, row->allocated_bytes - row->pooled_bytes);
    if (row->allocations > 0)
        row->reuse_ratio = row->reused / row->allocations;
}

// Of /proc, so that it is known of a process that does not answer, too.
static double resident_bytes(pid_t pid)
{
    char path[40];
    unsigned long pages;
    double bytes = NAN;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*u %lu", &pages) == 1)
        bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
    if (f)
        fclose(f);
    return bytes;
}

static void set_why(struct top_row *row, const struct control_call *call)
{
    // "has no channel" means mostly this, where the library is there.
    static const char young[] = "no watchdog thread yet, or CONTROL=off";
    const char *why = call->state == CONTROL_CLOSED ? young : launcher_control_why(call);
    row->why[0] = '\0';
    strncat(row->why, why, sizeof row->why - 1);
}

static const struct top_row *find_before(const struct top *t, const struct top_row *row)
{
    for (size_t i = 0; i < t->before_count; i++)
        if (t->before[i].pid == row->pid && t->before[i].start == row->start)
            return &t->before[i];
    return NULL;
}

static void make_rate(const struct top *t, struct top_row *row)
{
    const struct top_row *was = find_before(t, row);
    uint64_t ms = t->read_ms - t->before_ms;
    // Counters that went back belong to another life of it.
    if (was && ms && row->reclaims >= was->reclaims)
        row->reclaims_per_s = (row->reclaims - was->reclaims) * 1000 / (double)ms;
}

static bool pid_chosen(pid_t pid, const char *pids)
{
    for (char *end; pids && *pids; pids = end + (*end == ','))
        if (strtol(pids, &end, 10) == pid)
            return true;
        else if (end == pids)
            break;
    return !pids;
}

static bool service_chosen(const struct top_row *row, const char *service)
{
    return !service || globs_match(service, row->service);
}

// All are asked before any answer is read, so that the slowest is what it takes.
static size_t ask_all(struct top *t, struct control_call *calls, const struct top_filter *filter)
{
    size_t n = 0;
    for (size_t i = 0; i < t->procs.count; i++) {
        const struct proc *p = &t->procs.list[i];
        if (!p->has_library || !pid_chosen(p->pid, filter->pids))
            continue;
        t->row[n] = (struct top_row){.pid = p->pid, .start = p->start};
        memcpy(t->row[n].comm, p->comm, sizeof p->comm);
        forget_numbers(&t->row[n]);
        t->row[n].resident_bytes = resident_bytes(p->pid);
        launcher_control_begin(&calls[n++], p->pid, "stats");
    }
    return n;
}

// False where the row is to be left out.
static bool take_call(struct top *t, struct top_row *row, struct control_call *call)
{
    const struct proc p = {.pid = row->pid, .start = row->start};
    if (call->state == CONTROL_ASKED)
        take_answer(row, call->text);
    row->state = call->state;
    set_why(row, call);
    free(call->text);
    call->text = NULL;
    make_rate(t, row);
    // It may have ended, and its pid may be that of another process, which answered in its place.
    return row->state != CONTROL_GONE && procs_alive(&p);
}

bool top_read(struct top *t, const struct top_filter *filter)
{
    if (!procs_scan(&t->procs))
        return false;
    free(t->before);
    t->before = t->row;
    t->before_count = t->count;
    t->before_ms = t->read_ms;
    t->count = 0;
    t->row = calloc(t->procs.count + 1, sizeof *t->row);
    struct control_call *calls = calloc(t->procs.count + 1, sizeof *calls);
    t->read_ms = launcher_now_ms();
    size_t asked = t->row && calls ? ask_all(t, calls, filter) : 0;
    launcher_control_finish(calls, asked, PATIENCE_MS);
    for (size_t i = 0; i < asked; i++) {
        struct top_row row = t->row[i];
        if (take_call(t, &row, &calls[i]) && service_chosen(&row, filter->service))
            t->row[t->count++] = row;
    }
    free(calls);
    return true;
}

void top_free(struct top *t)
{
    procs_free(&t->procs);
    free(t->row);
    free(t->before);
    *t = (struct top){0};
}
