// launcher_symbols - sorts the addresses by file, asks for each file once, builds the stacks.

#include "shim/launcher_symbols.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/launcher.h"
#include "shim/launcher_elf.h"
#include "shim/launcher_hide.h"
#include "shim/launcher_lines.h"
#include "shim/launcher_names.h"
#include "shim/launcher_out.h"
#include "shim/launcher_perfmap.h"

struct address {
    uint64_t pc;     // within the call, not behind it
    uint64_t offset; // in the file; then as the linker counted
    const struct profile_map *map;
    uint32_t module;     // number of the path
    size_t first, depth; // in places, innermost first
};

struct resolver {
    const struct profile *profile;
    struct stacks *out;
    struct address *addresses;
    size_t count, room;
    uint32_t *places; // numbers of frames
    size_t place_count, place_room;
    struct intern modules;
    struct perfmap jit;
    struct stat profile_stat;
    const char *root;
    bool no_tool;
    unsigned missing;
    char first_missing[PATH_MAX];
};

// Of the file whose addresses are being asked for.
struct module {
    struct resolver *r;
    struct address *addresses;
    size_t count;
    const char *mapped; // as the profile says it
    const char *path;   // without " (deleted)"
    const char *base;   // and without folders
    const char *here;   // where it is to be opened
    struct elf own, debug;
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

static void place(struct resolver *r, struct address *a, const char *function, const char *file,
                  unsigned line, const char *module)
{
    if (!a->depth)
        a->first = r->place_count;
    r->places = room_for(r->places, &r->place_room, r->place_count + 1, sizeof *r->places);
    r->places[r->place_count++] = stacks_frame(r->out, function, file, line, module);
    a->depth++;
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

// A name for a function that has none: the file and the place in it.
static void place_offset(struct module *m, struct address *a)
{
    char name[256];
    snprintf(name, sizeof name, "%.200s+0x%" PRIx64, m->base, a->offset);
    place(m->r, a, name, "", 0, m->path);
}

static const char *symbol_at(const struct module *m, uint64_t address)
{
    const char *name = elf_function(&m->debug, address);
    return name ? name : elf_function(&m->own, address);
}

// The whole function at an address, by the symbol table; false where it has none.
static bool place_symbol(struct module *m, struct address *a, const char *file, unsigned line)
{
    const char *name = symbol_at(m, a->offset);
    if (!name)
        return false;
    char *readable = name_demangle(name);
    place(m->r, a, readable ? readable : name, file, line, m->path);
    free(readable);
    return true;
}

// One answer of the tool. Without a file it is the nearest name before the address, however far:
// the symbol table knows better.
static void take_lines(void *arg, size_t index, const struct lines_frame *frames, size_t count)
{
    struct module *m = arg;
    struct address *a = &m->addresses[index];
    if (a->depth || !frames[count - 1].file)
        return;
    for (size_t i = 0; i < count; i++) {
        const char *file = frames[i].file ? frames[i].file : "";
        // The debug information of a function without a linkage name leaves its scope out.
        if (i == count - 1 && place_symbol(m, a, file, frames[i].line))
            break;
        if (frames[i].function)
            place(m->r, a, frames[i].function, file, frames[i].line, m->path);
    }
}

static void ask_lines(struct module *m, const char *file)
{
    char shown[PATH_MAX];
    uint64_t *questions = calloc(m->count, sizeof *questions);
    if (!questions || m->r->no_tool)
        goto out;
    for (size_t i = 0; i < m->count; i++)
        questions[i] = m->addresses[i].offset;
    switch (lines_ask(file, questions, m->count, take_lines, m)) {
    case LINES_OK:
        break;
    case LINES_NO_TOOL:
        m->r->no_tool = true;
        launcher_fail(0, "neither addr2line (binutils) nor llvm-symbolizer (llvm) is here: names "
                         "from symbol tables only, and no lines");
        break;
    case LINES_FAILED:
        launcher_fail(0, "%s: its line numbers cannot be read",
                      out_plain_text(shown, sizeof shown, file));
        break;
    }
out:
    free(questions);
}

// The file that a package of debug symbols has for this one; false where there is none.
static bool open_debug(struct module *m, const char *root, char *path, size_t size)
{
    const char *id = m->own.build_id;
    if (m->own.has_lines || strlen(id) < 4)
        return false;
    int n = snprintf(path, size, "%s/usr/lib/debug/.build-id/%.2s/%s.debug", root, id, id + 2);
    return n < (int)size && elf_open(&m->debug, path) == 0;
}

static void place_module(struct module *m)
{
    char debug[PATH_MAX];
    for (size_t i = 0; i < m->count; i++)
        elf_address(&m->own, m->addresses[i].offset, &m->addresses[i].offset);
    if (!open_debug(m, m->r->root, debug, sizeof debug) && *m->r->root)
        open_debug(m, "", debug, sizeof debug);
    if (m->own.has_lines || m->debug.has_lines)
        ask_lines(m, m->own.has_lines ? m->here : debug);
    for (size_t i = 0; i < m->count; i++)
        if (!m->addresses[i].depth && !place_symbol(m, &m->addresses[i], "", 0))
            place_offset(m, &m->addresses[i]);
    elf_close(&m->debug);
}

// Is the file the one that was mapped? By its build id where the profile tells that; else its age
// can only raise a doubt.
static bool same_file(const struct module *m)
{
    const struct profile *p = m->r->profile;
    struct stat st;
    char shown[PATH_MAX];
    out_plain_text(shown, sizeof shown, m->here);
    for (size_t i = 0; i < p->build_count; i++) {
        if (strcmp(p->builds[i].path, m->path) != 0 && strcmp(p->builds[i].path, m->mapped) != 0)
            continue;
        if (strcmp(p->builds[i].id, m->own.build_id) == 0)
            return true;
        launcher_fail(0, "%s: not the file that ran (another build id); offsets instead of names",
                      shown);
        return false;
    }
    if (m->r->profile_stat.st_mtime && stat(m->here, &st) == 0 &&
        st.st_mtime > m->r->profile_stat.st_mtime)
        launcher_fail(0, "%s: newer than the profile; its names may be wrong", shown);
    return true;
}

static void place_file(struct module *m)
{
    if (elf_open(&m->own, m->here) < 0) {
        if (!m->r->missing++)
            out_plain_text(m->r->first_missing, sizeof m->r->first_missing, m->here);
    } else {
        if (same_file(m))
            place_module(m);
        elf_close(&m->own);
    }
    for (size_t i = 0; i < m->count; i++)
        if (!m->addresses[i].depth)
            place_offset(m, &m->addresses[i]);
}

// Code in no file: made at run time, or the kernel's, or no code at all.
static void place_memory(struct module *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct address *a = &m->addresses[i];
        const char *jit = perfmap_find(&m->r->jit, a->pc);
        if (jit)
            place(m->r, a, jit, "", 0, "[jit]");
        else if (*m->path)
            place(m->r, a, m->path, "", 0, m->path);
        else
            place(m->r, a, a->map && a->map->executable ? "[jit]" : "[unknown]", "", 0, "[jit]");
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
    const char *slash = strrchr(path, '/');
    struct module m = {
        .r = r,
        .addresses = first,
        .count = count,
        .mapped = mapped,
        .path = path,
        .base = slash ? slash + 1 : path,
        .here = here,
        .own = {.fd = -1},
        .debug = {.fd = -1},
    };
    snprintf(here, sizeof here, "%s%s", r->root, path);
    if (path[0] == '/')
        place_file(&m);
    else
        place_memory(&m);
}

static bool is_hidden(const struct stacks *s, uint32_t frame)
{
    const struct frame *f = stacks_get(s, frame);
    return hide_frame(stacks_text(s, f->function), stacks_text(s, f->module));
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
            uint32_t frame = r->places[a->first + k];
            // A run of code without names is one frame.
            if (count && (*frames)[count - 1] == frame && is_nameless(r->out, frame))
                continue;
            *frames = room_for(*frames, room, count + 1, sizeof **frames);
            (*frames)[count++] = frame;
        }
    }
    // Somebody has to have it: the outermost frame stays.
    while (!o->all_frames && count > 1 && is_hidden(r->out, (*frames)[count - 1]))
        count--;
    if (count)
        stacks_add(r->out, *frames, count, o->side, stack->bytes, stack->blocks);
}

void symbols_resolve(const struct profile *p, const char *path, const struct symbols_options *o,
                     struct stacks *out)
{
    struct resolver r = {.profile = p, .out = out, .root = o->root ? o->root : ""};
    if (stat(path, &r.profile_stat) < 0)
        r.profile_stat.st_mtime = 0;
    perfmap_load(&r.jit, path, p->pid);
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
    free(r.places);
    intern_free(&r.modules);
    perfmap_free(&r.jit);
}
