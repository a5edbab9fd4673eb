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

enum runtime { RUNTIME_OTHER, RUNTIME_NODE, RUNTIME_JVM };

struct resolver {
    const struct profile *profile;
    struct places places;
    struct address *addresses;
    size_t count, room;
    const struct address **at; // of each pc of the profile
    struct intern modules;
    struct perfmap jit;
    enum runtime runtime;
    double nameless_bytes, bytes; // of stacks with functions that have no names, and of all
    unsigned char *hidden;        // by frame
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

static void place_made(struct resolver *r, struct address *a, const char *text)
{
    struct made_name m;
    made_name_parse(&m, text, r->runtime == RUNTIME_JVM);
    a->kind = m.kind;
    places_add(&r->places, a, m.function, m.file, m.line, "[jit]");
}

static void place_nameless(struct resolver *r, struct address *a)
{
    bool code = a->map && a->map->executable;
    a->kind = code ? MADE_STUB : MADE_NONE;
    places_add(&r->places, a, code ? "[jit]" : "[unknown]", "", 0, "[jit]");
}

// Code in no file: made at run time, or the kernel's, or no code at all; and what an interpreter
// runs.
static void place_memory(struct resolver *r, struct address *first, size_t count, const char *path)
{
    for (struct address *a = first; a < first + count; a++) {
        const struct profile_name *name = profile_find_name(r->profile, a->pc + 1);
        const char *jit = perfmap_find(&r->jit, a->pc);
        if (name) {
            a->kind = MADE_OWN;
            places_add(&r->places, a, name->function, name->file, name->line, name->language);
        } else if (jit) {
            place_made(r, a, jit);
        } else if (*path) {
            places_add(&r->places, a, path, "", 0, path);
        } else {
            place_nameless(r, a);
        }
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

enum { UNASKED, SHOWN, HIDDEN, INTERPRETER };

// Looked up once a frame: a profile may have 100 times as many stacks.
static unsigned kind_of(struct resolver *r, uint32_t frame)
{
    const struct stacks *s = r->places.out;
    r->hidden = room_for(r->hidden, &r->hidden_room, (size_t)frame + 1, 1);
    if (r->hidden[frame] == UNASKED) {
        const struct frame *f = stacks_get(s, frame);
        const char *module = stacks_text(s, f->module);
        bool hide = hide_frame(stacks_text(s, f->function), module);
        bool interpreter = hide_interpreter(module, stacks_text(s, f->file));
        r->hidden[frame] = hide ? HIDDEN : interpreter ? INTERPRETER : SHOWN;
    }
    return r->hidden[frame];
}

static const struct address *address_at(const struct resolver *r, const struct profile_stack *stack,
                                        size_t i)
{
    return r->at[stack->first + i];
}

// Looked up once: each is asked for several times.
static void find_addresses(struct resolver *r)
{
    size_t room = 0;
    r->at = room_for(NULL, &room, r->profile->pc_count + 1, sizeof *r->at);
    for (size_t i = 0; i < r->profile->pc_count; i++) {
        struct address key = {.pc = r->profile->pcs[i] - 1};
        r->at[i] = bsearch(&key, r->addresses, r->count, sizeof key, by_pc);
    }
}

static size_t first_of(const struct resolver *r, const struct profile_stack *stack,
                       enum made_kind kind)
{
    size_t i = 0;
    while (i < stack->depth && address_at(r, stack, i)->kind != kind)
        i++;
    return i;
}

// What a function of a script calls is its own: C, and the runtime's library. So this is the first
// such function. Where an event loop runs the library there is none: then it is the first of the
// library's, or else the stack's end.
static size_t first_function(const struct resolver *r, const struct profile_stack *stack)
{
    size_t own = first_of(r, stack, MADE_OWN);
    return own < stack->depth ? own : first_of(r, stack, MADE_LIBRARY);
}

// Runs functions of a script of which none has a name. In a JVM those of its own library say
// nothing: they have names even where frame pointers are missing further out.
static bool lacks_names(const struct resolver *r, const struct profile_stack *stack)
{
    bool stub = false;
    for (size_t i = 0; i < stack->depth; i++) {
        enum made_kind kind = address_at(r, stack, i)->kind;
        if (kind == MADE_OWN || (kind == MADE_LIBRARY && r->runtime == RUNTIME_NODE))
            return false;
        stub |= kind == MADE_STUB;
    }
    return stub;
}

static bool is_nameless(const struct stacks *s, uint32_t frame)
{
    return stacks_text(s, stacks_get(s, frame)->function)[0] == '[';
}

static void add_stack(struct resolver *r, const struct profile_stack *stack,
                      const struct symbols_options *o, uint32_t **frames, size_t *room)
{
    size_t count = 0, function = first_function(r, stack);
    r->bytes += stack->bytes;
    if (lacks_names(r, stack))
        r->nameless_bytes += stack->bytes;
    bool script = function < stack->depth && !o->all_frames;
    size_t first = script ? function : 0;
    for (size_t i = stack->depth; i-- > first;) {
        const struct address *a = address_at(r, stack, i);
        if (script && a->kind == MADE_STUB)
            continue;
        for (size_t k = a->depth; k-- > 0;) {
            uint32_t frame = r->places.frames[a->first + k];
            // The innermost function stays where nothing else would.
            if (script && kind_of(r, frame) == INTERPRETER && (count || i > first))
                continue;
            // A run of code without names is one frame.
            if (count && (*frames)[count - 1] == frame && is_nameless(r->places.out, frame))
                continue;
            *frames = room_for(*frames, room, count + 1, sizeof **frames);
            (*frames)[count++] = frame;
        }
    }
    // A row needs one frame: the outermost stays.
    while (!o->all_frames && count > 1 && kind_of(r, (*frames)[count - 1]) == HIDDEN)
        count--;
    if (count)
        stacks_add(r->places.out, *frames, count, o->side, stack->bytes, stack->blocks);
}

static enum runtime runtime_of(const struct profile *p)
{
    for (size_t i = 0; i < p->map_count; i++) {
        const char *name = basename(p->maps[i].path);
        if (strcmp(name, "libjvm.so") == 0)
            return RUNTIME_JVM;
        if (strcmp(name, "node") == 0 || strncmp(name, "libnode.so", 10) == 0)
            return RUNTIME_NODE;
    }
    return RUNTIME_OTHER;
}

// V8's part of node's file: it runs functions that are interpreted.
static void find_builtins(struct resolver *r)
{
    static const char start[] = "Builtins_";
    const struct stacks *s = r->places.out;
    for (struct address *a = r->addresses; a < r->addresses + r->count; a++)
        if (a->depth) {
            uint32_t function = stacks_get(s, r->places.frames[a->first])->function;
            if (strncmp(stacks_text(s, function), start, sizeof start - 1) == 0)
                a->kind = MADE_STUB;
        }
}

static void say_nameless(const struct resolver *r)
{
    static const char *const advice[] = {
        [RUNTIME_NODE] = "JavaScript without names: start node with --perf-basic-prof "
                         "--interpreted-frames-native-stack",
        [RUNTIME_JVM] = "Java without names: start java with -XX:+PreserveFramePointer, and before "
                        "the dump run: jcmd PID Compiler.perfmap (where that was done, the "
                        "interpreter runs these methods, and they have none)",
    };
    if (r->runtime != RUNTIME_OTHER && r->nameless_bytes >= r->bytes / 10 && r->nameless_bytes > 0)
        launcher_fail(0, "%.0f %% of the bytes come from %s", 100 * r->nameless_bytes / r->bytes,
                      advice[r->runtime]);
}

void symbols_resolve(const struct profile *p, const char *path, const struct stat *file,
                     const struct symbols_options *o, struct stacks *out)
{
    struct resolver r = {.profile = p, .places = {.out = out}, .root = o->root ? o->root : ""};
    if (S_ISREG(file->st_mode))
        r.profile_time = file->st_mtime;
    perfmap_load(&r.jit, path, r.root, file->st_uid, p->pid);
    r.runtime = runtime_of(p);
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
    find_builtins(&r);
    qsort(r.addresses, r.count, sizeof *r.addresses, by_pc);
    find_addresses(&r);
    uint32_t *frames = NULL;
    size_t room = 0;
    for (size_t i = 0; i < p->stack_count; i++)
        add_stack(&r, &p->stacks[i], o, &frames, &room);
    say_nameless(&r);
    free(frames);
    free(r.at);
    free(r.addresses);
    free(r.places.frames);
    free(r.hidden);
    intern_free(&r.modules);
    perfmap_free(&r.jit);
}
