// rows - one pass over the stacks, then a sort.

#include "shim/cli/report/rows.h"

#include <math.h>
#include <stdlib.h>

const char *const rows_by_names[BYS] = {
    [BY_SITE] = "site", [BY_FUNCTION] = "function", [BY_MODULE] = "module"};

static struct frame key_of(const struct frame *f, enum rows_by by)
{
    switch (by) {
    case BY_MODULE:
        return (struct frame){.module = f->module};
    case BY_FUNCTION:
        return (struct frame){.function = f->function, .module = f->module};
    default:
        break;
    }
    return *f;
}

static int by_size(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->own.bytes[SIDE_NOW] != y->own.bytes[SIDE_NOW])
        return x->own.bytes[SIDE_NOW] < y->own.bytes[SIDE_NOW] ? 1 : -1;
    if (x->with.bytes[SIDE_NOW] != y->with.bytes[SIDE_NOW])
        return x->with.bytes[SIDE_NOW] < y->with.bytes[SIDE_NOW] ? 1 : -1;
    return 0;
}

static double change_of(const struct row *r)
{
    return fabs(r->own.bytes[SIDE_NOW] - r->own.bytes[SIDE_BEFORE]);
}

static int by_change(const void *a, const void *b)
{
    double x = change_of(a), y = change_of(b);
    return x != y ? (x < y ? 1 : -1) : by_size(a, b);
}

struct rows rows_make(const struct stacks *s, enum rows_by by, bool comparing)
{
    struct rows r = {0};
    struct intern keys = {0};
    size_t room = 0, seen_room = 0, *seen = NULL;
    for (size_t i = 0; i < stacks_count(s); i++) {
        size_t depth;
        const uint32_t *frames = stacks_frames(s, i, &depth);
        const struct held *h = &s->held[i];
        for (size_t k = 0; k < depth; k++) {
            struct frame key = key_of(stacks_get(s, frames[k]), by);
            uint32_t n = intern_put(&keys, &key, sizeof key);
            r.rows = room_for(r.rows, &room, (size_t)n + 1, sizeof *r.rows);
            seen = room_for(seen, &seen_room, (size_t)n + 1, sizeof *seen);
            struct row *row = &r.rows[n];
            row->frame = key;
            // A function that calls itself holds its memory once.
            if (seen[n] != i + 1)
                held_add(&row->with, h);
            seen[n] = i + 1;
            if (k + 1 < depth)
                continue;
            held_add(&row->own, h);
            if (h->bytes[SIDE_NOW] >= row->stack_bytes) {
                row->stack_bytes = h->bytes[SIDE_NOW];
                row->stack = i;
            }
        }
    }
    r.count = keys.count;
    intern_free(&keys);
    free(seen);
    if (r.count)
        qsort(r.rows, r.count, sizeof *r.rows, comparing ? by_change : by_size);
    return r;
}

void rows_free(struct rows *r)
{
    free(r->rows);
    *r = (struct rows){0};
}
