// folded - for other programs: folded stacks, and JSON.

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/common/out.h"
#include "shim/cli/report/report.h"

// A semicolon separates frames, and a line ends a stack.
static void put_folded_name(FILE *f, const char *name)
{
    char plain[512];
    snprintf(plain, sizeof plain, "%s", *name ? name : "[unknown]");
    for (char *p = plain; *p; p++)
        if (*p == ';')
            *p = ':';
    out_plain(f, plain, sizeof plain);
}

void report_folded(const struct report *r, FILE *f)
{
    // Lines of a function are told apart by the table; here they are one frame.
    struct stacks merged;
    stacks_init(&merged);
    uint32_t *names = NULL;
    size_t room = 0;
    for (size_t i = 0; i < stacks_count(&r->stacks); i++) {
        size_t depth;
        const uint32_t *frames = stacks_frames(&r->stacks, i, &depth);
        const struct held *h = &r->stacks.held[i];
        names = room_for(names, &room, depth, sizeof *names);
        for (size_t k = 0; k < depth; k++)
            names[k] = stacks_get(&r->stacks, frames[k])->function;
        for (int side = 0; side < SIDES; side++)
            stacks_add(&merged, names, depth, side, h->bytes[side], h->blocks[side]);
    }
    for (size_t i = 0; i < stacks_count(&merged); i++) {
        size_t depth;
        const uint32_t *functions = stacks_frames(&merged, i, &depth);
        for (size_t k = 0; k < depth; k++) {
            if (k)
                fputc(';', f);
            put_folded_name(f, stacks_text(&r->stacks, functions[k]));
        }
        if (r->old_name)
            fprintf(f, " %" PRIu64, out_whole(merged.held[i].bytes[SIDE_BEFORE]));
        fprintf(f, " %" PRIu64 "\n", out_whole(merged.held[i].bytes[SIDE_NOW]));
    }
    free(names);
    stacks_free(&merged);
}

static void put_held(FILE *f, const char *name, const struct held *h, int side)
{
    static const char *const prefix[] = {[SIDE_NOW] = "", [SIDE_BEFORE] = "before_"};
    fprintf(f, "\"%s%sbytes\":%" PRIu64 ",\"%s%sblocks\":%" PRIu64, prefix[side], name,
            out_whole(h->bytes[side]), prefix[side], name, out_whole(h->blocks[side]));
}

static void put_text(const struct report *r, FILE *f, const char *name, uint32_t string)
{
    fprintf(f, ",\"%s\":", name);
    if (*stacks_text(&r->stacks, string))
        out_json(f, stacks_text(&r->stacks, string));
    else
        fputs("null", f);
}

static void put_frame(const struct report *r, FILE *f, const struct frame *frame)
{
    put_text(r, f, "function", frame->function);
    put_text(r, f, "file", frame->file);
    fprintf(f, ",\"line\":%" PRIu32, frame->line);
    put_text(r, f, "module", frame->module);
}

static void put_stack(const struct report *r, FILE *f, size_t stack)
{
    size_t depth;
    const uint32_t *frames = stacks_frames(&r->stacks, stack, &depth);
    fputs(",\"stack\":[", f);
    while (depth-- > 0) {
        out_json(f, stacks_text(&r->stacks, stacks_get(&r->stacks, frames[depth])->function));
        if (depth)
            fputc(',', f);
    }
    fputc(']', f);
}

void report_json(const struct report *r, FILE *f)
{
    struct rows rows = rows_make(&r->stacks, r->by, r->old_name != NULL);
    fputs("{\"profiles\":[", f);
    for (size_t i = 0; i < r->name_count; i++) {
        fputs(i ? "," : "", f);
        out_json(f, r->names[i]);
    }
    fputs("],\"compared_with\":", f);
    if (r->old_name)
        out_json(f, r->old_name);
    else
        fputs("null", f);
    fprintf(f, ",\"by\":\"%s\",\"sample_bytes\":%" PRIu64 ",\"outside_bytes\":%" PRIu64 ",",
            rows_by_names[r->by], r->interval_bytes, r->outside_bytes);
    put_held(f, "", &r->stacks.total, SIDE_NOW);
    if (r->old_name) {
        fputc(',', f);
        put_held(f, "", &r->stacks.total, SIDE_BEFORE);
    }
    fputs(",\"rows\":[", f);
    size_t shown = 0;
    for (size_t i = 0; i < rows.count && (!r->top || shown < r->top); i++) {
        const struct row *row = &rows.rows[i];
        // A function that only calls those that ask has no row of its own, except by function.
        if (r->by != BY_FUNCTION && row->own.bytes[SIDE_NOW] + row->own.bytes[SIDE_BEFORE] <= 0)
            continue;
        fputs(shown++ ? ",\n{" : "\n{", f);
        put_held(f, "", &row->own, SIDE_NOW);
        fputc(',', f);
        put_held(f, "total_", &row->with, SIDE_NOW);
        if (r->old_name) {
            fputc(',', f);
            put_held(f, "", &row->own, SIDE_BEFORE);
        }
        put_frame(r, f, &row->frame);
        if (r->by == BY_SITE && row->stack_bytes > 0)
            put_stack(r, f, row->stack);
        fputc('}', f);
    }
    fputs("\n]}\n", f);
    rows_free(&rows);
}
