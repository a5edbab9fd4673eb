// flame - the page: shim/cli/report/flame.html with the tree of frames in it.
//
// A frame is a function of a file, its lines merged. The page gets arrays of numbers and strings as
// JSON and draws them itself; no text from the profile becomes markup.

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/common/out.h"
#include "shim/cli/profile/names.h"
#include "shim/cli/report/report.h"

// A frame holding less than this part of all is not seen, and a page of them does not open.
enum { PRUNE_PARTS = 20000, SHORT_MAX = 256 };

// The page is kept as the file that it is, and is part of the program.
__asm__(".pushsection .rodata\n"
        ".hidden report_page\n.global report_page\n"
        "report_page: .incbin \"shim/cli/report/flame.html\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char report_page[];

static const char marker[] = "@DATA@";

struct name {
    uint32_t function, module;
};

struct node_key {
    uint32_t parent, name;
};

struct lines {
    uint32_t file, first, last;
};

struct tree {
    const struct report *r;
    struct intern names, keys; // of struct name and struct node_key
    struct lines *lines;       // by name
    struct held *held, *own;   // by node; what is held below it, and by itself
    uint32_t *written;         // the number of a node in the page, + 1
    uint32_t *name_written;    // that of a name, + 1
    uint32_t *used;            // the names in the page
    uint32_t used_count;
    size_t line_room, held_room, own_room;
};

static uint32_t name_of(struct tree *t, const struct frame *f)
{
    struct name key = {f->function, f->module};
    uint32_t n = intern_put(&t->names, &key, sizeof key);
    t->lines = room_for(t->lines, &t->line_room, (size_t)n + 1, sizeof *t->lines);
    struct lines *l = &t->lines[n];
    if (!l->file && f->file)
        *l = (struct lines){f->file, f->line, f->line};
    if (f->line && f->file == l->file) {
        l->first = f->line < l->first ? f->line : l->first;
        l->last = f->line > l->last ? f->line : l->last;
    }
    return n;
}

static uint32_t node_of(struct tree *t, uint32_t parent, uint32_t name)
{
    struct node_key key = {parent, name};
    uint32_t n = intern_put(&t->keys, &key, sizeof key);
    t->held = room_for(t->held, &t->held_room, (size_t)n + 1, sizeof *t->held);
    t->own = room_for(t->own, &t->own_room, (size_t)n + 1, sizeof *t->own);
    return n;
}

// Node 0 is all of it.
static void build(struct tree *t)
{
    const struct stacks *s = &t->r->stacks;
    struct name all = {UINT32_MAX, UINT32_MAX};
    uint32_t root = node_of(t, UINT32_MAX, intern_put(&t->names, &all, sizeof all));
    t->lines = room_for(t->lines, &t->line_room, 1, sizeof *t->lines);
    for (size_t i = 0; i < stacks_count(s); i++) {
        size_t depth;
        const uint32_t *frames = stacks_frames(s, i, &depth);
        uint32_t node = root;
        held_add(&t->held[node], &s->held[i]);
        for (size_t k = 0; k < depth; k++) {
            node = node_of(t, node, name_of(t, stacks_get(s, frames[k])));
            held_add(&t->held[node], &s->held[i]);
        }
        held_add(&t->own[node], &s->held[i]);
    }
}

static void put_name(const struct tree *t, FILE *f, uint32_t n)
{
    size_t size;
    const struct stacks *s = &t->r->stacks;
    const struct name *name = intern_get(&t->names, n, &size);
    const struct lines *l = &t->lines[n];
    char shorter[SHORT_MAX];
    if (name->function == UINT32_MAX) {
        fputs("[\"all\",\"all\",\"\",\"\",0,0]", f);
        return;
    }
    name_shorten(stacks_text(s, name->function), shorter, sizeof shorter);
    fputc('[', f);
    out_json(f, shorter);
    fputc(',', f);
    out_json(f, stacks_text(s, name->function));
    fputc(',', f);
    out_json(f, stacks_text(s, name->module));
    fputc(',', f);
    out_json(f, stacks_text(s, l->file));
    fprintf(f, ",%" PRIu32 ",%" PRIu32 "]", l->first, l->last);
}

static uint32_t use_name(struct tree *t, uint32_t name)
{
    if (!t->name_written[name]) {
        t->used[t->used_count] = name;
        t->name_written[name] = ++t->used_count;
    }
    return t->name_written[name] - 1;
}

// Numbers come before the numbers of what is below them, so one pass knows each parent's.
static void put_nodes(struct tree *t, FILE *f)
{
    uint32_t count = 0, pruned = 0;
    size_t room[3] = {0};
    t->written = room_for(NULL, &room[0], t->keys.count, sizeof *t->written);
    t->name_written = room_for(NULL, &room[1], t->names.count, sizeof *t->name_written);
    t->used = room_for(NULL, &room[2], t->names.count, sizeof *t->used);
    const double least = t->r->stacks.total.bytes[SIDE_NOW] / PRUNE_PARTS;
    fputs("\"nodes\":[", f);
    for (uint32_t n = 0; n < t->keys.count; n++) {
        size_t size;
        const struct node_key *key = intern_get(&t->keys, n, &size);
        const struct held *held = &t->held[n];
        uint32_t parent = n ? t->written[key->parent] : 0;
        if (n && (!parent || held->bytes[SIDE_NOW] <= 0 || held->bytes[SIDE_NOW] < least)) {
            pruned += held->bytes[SIDE_NOW] > 0;
            continue;
        }
        t->written[n] = ++count;
        fprintf(f, "%s[%" PRId64 ",%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]",
                count > 1 ? ",\n" : "\n", n ? (int64_t)parent - 1 : -1, use_name(t, key->name),
                out_whole(held->bytes[SIDE_NOW]), out_whole(held->blocks[SIDE_NOW]),
                out_whole(t->own[n].bytes[SIDE_NOW]), out_whole(held->bytes[SIDE_BEFORE]));
    }
    fprintf(f, "],\n\"pruned\":%" PRIu32 ",\n", pruned);
}

static void put_data(struct tree *t, FILE *f)
{
    const struct report *r = t->r;
    fputs("{\"title\":", f);
    out_json(f, report_title(r->names[0]));
    fputs(",\"compared\":", f);
    if (r->old_name)
        out_json(f, report_title(r->old_name));
    else
        fputs("null", f);
    fprintf(f,
            ",\"rate\":%" PRIu64 ",\"outside\":%" PRIu64 ",\"bytes\":%" PRIu64
            ",\"blocks\":%" PRIu64 ",\n",
            r->interval_bytes, r->outside_bytes >= OUTSIDE_MIN ? r->outside_bytes : 0,
            out_whole(r->stacks.total.bytes[SIDE_NOW]),
            out_whole(r->stacks.total.blocks[SIDE_NOW]));
    put_nodes(t, f);
    fputs("\"names\":[", f);
    for (uint32_t n = 0; n < t->used_count; n++) {
        fputs(n ? ",\n" : "\n", f);
        put_name(t, f, t->used[n]);
    }
    fputs("]}\n", f);
}

void report_flame(const struct report *r, FILE *f)
{
    struct tree t = {.r = r};
    const char *data = strstr(report_page, marker);
    build(&t);
    fwrite(report_page, 1, (size_t)(data - report_page), f);
    put_data(&t, f);
    fputs(data + sizeof marker - 1, f);
    intern_free(&t.names);
    intern_free(&t.keys);
    free(t.lines);
    free(t.held);
    free(t.own);
    free(t.written);
    free(t.name_written);
    free(t.used);
}
