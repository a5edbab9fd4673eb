// symbols - sorts the addresses by file, asks for each file once, builds the stacks.

#include "shim/cli/symbols/symbols.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/common/cli.h"
#include "shim/cli/common/out.h"
#include "shim/cli/profile/hide.h"
#include "shim/cli/symbols/module.h"
#include "shim/cli/symbols/perfmap.h"

struct resolver {
    const struct profile *profile;
    struct places places;
    struct address *addresses;
    size_t count, room;
    struct intern modules;
    struct perfmap jit;
    unsigned char *hidden; // by frame
    size_t hidden_room;
    time_t profile_time;
    const char *root;
    bool no_tool;
    unsigned missing;
    char first_missing[PATH_MAX];
};

static int by_pc(const void *a, const void *b)
{
    const struct address *x = a, *y = b;
    return (x->pc > y->pc) - (x->pc < y->pc);
}

static int by_module(const void *a, const void *b)
{
    const struct address *x = a, *y = b;
    if (x->module != y->module)
        return x->module < y->module ? -1 : 1;
    return by_pc(a, b);
}

// Each address once, in its mapping.
static void collect(struct resolver *r)
{
    const struct profile *p = r->profile;
    r->addresses = room_for(NULL, &r->room, p->pc_count + 1, sizeof *r->addresses);
    for (size_t i = 0; i < p->pc_count; i++)
        r->addresses[i].pc = p->pcs[i] - 1;
    qsort(r->addresses, p->pc_count, sizeof *r->addresses, by_pc);
    for (size_t i = 0; i < p->pc_count; i++) {
        if (r->count && r->addresses[r->count - 1].pc == r->addresses[i].pc)
            continue;
        struct address *a = &r->addresses[r->count++];
        a->pc = r->addresses[i].pc;
        a->map = profile_find_map(p, a->pc);
        a->offset = a->map ? a->pc - a->map->start + a->map->offset : a->pc;
        a->module = intern_string(&r->modules, a->map ? a->map->path : "");
    }
}

// Code in no file: made at run time, or the kernel's, or no code at all.
static void place_memory(struct resolver *r, struct address *first, size_t count, const char *path)
{
    for (struct address *a = first; a < first + count; a++) {
        const char *jit = perfmap_find(&r->jit, a->pc);
        if (jit)
            places_add(&r->places, a, jit, "", 0, "[jit]");
        else if (*path)
            places_add(&r->places, a, path, "", 0, path);
        else
            places_add(&r->places, a, a->map && a->map->executable ? "[jit]" : "[unknown]", "", 0,
                       "[jit]");
    }
}

static void place_run(struct resolver *r, struct address *first, size_t count)
{
    static const char deleted[] = " (deleted)";
    char path[PATH_MAX], here[2 * PATH_MAX];
    const char *mapped = intern_text(&r->modules, first->module);
    snprintf(path, sizeof path, "%s", mapped);
    size_t length = strlen(path), tail = sizeof deleted - 1;
    if (length > tail && strcmp(path + length - tail, deleted) == 0)
        path[length - tail] = '\0';
    if (path[0] != '/') {
        place_memory(r, first, count, path);
        return;
    }
    snprintf(here, sizeof here, "%s%s", r->root, path);
    struct module m = {
        .places = &r->places,
        .profile = r->profile,
        .profile_time = r->profile_time,
        .root = r->root,
        .no_tool = &r->no_tool,
        .addresses = first,
        .count = count,
        .mapped = mapped,
        .path = path,
        .base = strrchr(path, '/') + 1,
        .here = here,
        .own = {.fd = -1},
        .debug = {.fd = -1},
    };
    if (!module_name(&m) && !r->missing++)
        out_plain_text(r->first_missing, sizeof r->first_missing, here);
}

// Looked up once a frame: a profile may have 100 times as many stacks.
static bool is_hidden(struct resolver *r, uint32_t frame)
{
    enum { UNASKED, SHOWN, HIDDEN };
    const struct stacks *s = r->places.out;
    r->hidden = room_for(r->hidden, &r->hidden_room, (size_t)frame + 1, 1);
    if (r->hidden[frame] == UNASKED) {
        const struct frame *f = stacks_get(s, frame);
        bool hide = hide_frame(stacks_text(s, f->function), stacks_text(s, f->module));
        r->hidden[frame] = hide ? HIDDEN : SHOWN;
    }
    return r->hidden[frame] == HIDDEN;
}

static bool is_nameless(const struct stacks *s, uint32_t frame)
{
    return stacks_text(s, stacks_get(s, frame)->function)[0] == '[';
}

static void add_stack(struct resolver *r, const struct profile_stack *stack,
                      const struct symbols_options *o, uint32_t **frames, size_t *room)
{
    size_t count = 0;
    for (size_t i = stack->depth; i-- > 0;) {
        struct address key = {.pc = r->profile->pcs[stack->first + i] - 1};
        const struct address *a = bsearch(&key, r->addresses, r->count, sizeof key, by_pc);
        for (size_t k = a->depth; k-- > 0;) {
            uint32_t frame = r->places.frames[a->first + k];
            // A run of code without names is one frame.
            if (count && (*frames)[count - 1] == frame && is_nameless(r->places.out, frame))
                continue;
            *frames = room_for(*frames, room, count + 1, sizeof **frames);
            (*frames)[count++] = frame;
        }
    }
    // A row needs one frame: the outermost stays.
    while (!o->all_frames && count > 1 && is_hidden(r, (*frames)[count - 1]))
        count--;
    if (count)
        stacks_add(r->places.out, *frames, count, o->side, stack->bytes, stack->blocks);
}

void symbols_resolve(const struct profile *p, const char *path, const struct stat *file,
                     const struct symbols_options *o, struct stacks *out)
{
    struct resolver r = {.profile = p, .places = {.out = out}, .root = o->root ? o->root : ""};
    if (S_ISREG(file->st_mode))
        r.profile_time = file->st_mtime;
    perfmap_load(&r.jit, path, file->st_uid, p->pid);
    collect(&r);
    qsort(r.addresses, r.count, sizeof *r.addresses, by_module);
    for (size_t i = 0, n; i < r.count; i += n) {
        for (n = 1; i + n < r.count && r.addresses[i + n].module == r.addresses[i].module; n++)
            ;
        place_run(&r, &r.addresses[i], n);
    }
    if (r.missing)
        launcher_fail(0,
                      "%u of the mapped files cannot be read here (%s): offsets instead of names",
                      r.missing, r.first_missing);
    qsort(r.addresses, r.count, sizeof *r.addresses, by_pc);
    uint32_t *frames = NULL;
    size_t room = 0;
    for (size_t i = 0; i < p->stack_count; i++)
        add_stack(&r, &p->stacks[i], o, &frames, &room);
    free(frames);
    free(r.addresses);
    free(r.places.frames);
    free(r.hidden);
    intern_free(&r.modules);
    perfmap_free(&r.jit);
}
