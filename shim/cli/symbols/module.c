// module - the tool that knows lines first, then the symbol table, then the bare offset.

#include "shim/cli/symbols/module.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/cli/common/cli.h"
#include "shim/cli/common/out.h"
#include "shim/cli/profile/names.h"
#include "shim/cli/symbols/elf.h"
#include "shim/cli/symbols/lines.h"

void places_add(struct places *p, struct address *a, const char *function, const char *file,
                unsigned line, const char *module)
{
    if (!a->depth)
        a->first = p->count;
    p->frames = room_for(p->frames, &p->room, p->count + 1, sizeof *p->frames);
    p->frames[p->count++] = stacks_frame(p->out, function, file, line, module);
    a->depth++;
}

// A name for a function that has none: the file and the place in it.
static void place_offset(struct module *m, struct address *a)
{
    char name[256];
    snprintf(name, sizeof name, "%.200s+0x%" PRIx64, m->base, a->offset);
    places_add(m->places, a, name, "", 0, m->path);
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
    places_add(m->places, a, readable ? readable : name, file, line, m->path);
    free(readable);
    return true;
}

// One answer of the tool. Without a line it is the nearest name before the address, however far:
// the symbol table knows better.
static void take_lines(void *arg, size_t index, const struct lines_frame *frames, size_t count)
{
    struct module *m = arg;
    struct address *a = &m->addresses[index];
    if (a->depth || !frames[count - 1].line)
        return;
    for (size_t i = 0; i < count; i++) {
        const char *file = frames[i].file ? frames[i].file : "";
        // The debug information of a function without a linkage name leaves its scope out.
        if (i == count - 1 && place_symbol(m, a, file, frames[i].line))
            break;
        if (frames[i].function)
            places_add(m->places, a, frames[i].function, file, frames[i].line, m->path);
    }
}

static void ask_lines(struct module *m, const char *file)
{
    char shown[PATH_MAX];
    size_t room = 0;
    if (*m->no_tool)
        return;
    uint64_t *questions = room_for(NULL, &room, m->count, sizeof *questions);
    for (size_t i = 0; i < m->count; i++)
        questions[i] = m->addresses[i].offset;
    switch (lines_ask(file, questions, m->count, take_lines, m)) {
    case LINES_OK:
        break;
    case LINES_NO_TOOL:
        *m->no_tool = true;
        launcher_fail(0, "neither addr2line (binutils) nor llvm-symbolizer (llvm) is here: names "
                         "from symbol tables only, and no lines");
        break;
    case LINES_FAILED:
        launcher_fail(0, "%s: its line numbers cannot be read",
                      out_plain_text(shown, sizeof shown, file));
        break;
    }
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
    if (!open_debug(m, m->root, debug, sizeof debug) && *m->root)
        open_debug(m, "", debug, sizeof debug);
    if (m->own.has_lines || m->debug.has_lines)
        ask_lines(m, m->own.has_lines ? m->here : debug);
    for (size_t i = 0; i < m->count; i++)
        if (!m->addresses[i].depth)
            place_symbol(m, &m->addresses[i], "", 0);
    elf_close(&m->debug);
}

// Is the file the one that was mapped? By its build id where the profile tells that; else its age
// can only raise a doubt.
static bool same_file(const struct module *m)
{
    const struct profile *p = m->profile;
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
    if (m->profile_time && stat(m->here, &st) == 0 && st.st_mtime > m->profile_time)
        launcher_fail(0, "%s: newer than the profile; its names may be wrong", shown);
    return true;
}

bool module_name(struct module *m)
{
    bool opened = elf_open(&m->own, m->here) == 0;
    if (opened && same_file(m))
        place_module(m);
    if (opened)
        elf_close(&m->own);
    for (size_t i = 0; i < m->count; i++)
        if (!m->addresses[i].depth)
            place_offset(m, &m->addresses[i]);
    return opened;
}
