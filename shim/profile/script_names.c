#include "shim/profile/script_names.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "shim/base.h"
#include "shim/base/log.h"

bool script_symbol(const char *name, void *to)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);

    static_assert(sizeof symbol == sizeof(void (*)(void)), "POSIX: a function's address fits");
    __builtin_memcpy(to, &symbol, sizeof symbol);
    if (!symbol)
        dlerror(); // the program's next call of it is not to see this
    return symbol;
}

void script_place(struct script *s, uintptr_t place)
{
    while (s->placed < s->count)
        s->place[s->placed++] = place;
}

// A long file's name leaves this much to the line, and a long function's this much to the file.
enum { LINE_ROOM = 16, FUNCTION_END = 180, FILE_END = SITES_NAME_MAX - LINE_ROOM };

static void add_byte(struct script_text *t, uint32_t c)
{
    if (t->used < t->end)
        t->bytes[t->used++] = (char)c;
}

void script_text_begin(struct script_text *t, const char *language)
{
    t->used = 0;
    t->end = FUNCTION_END;
    while (*language)
        add_byte(t, (unsigned char)*language++);
    add_byte(t, '\t');
}

void script_text_byte(struct script_text *t, unsigned char c)
{
    add_byte(t, c < ' ' || c == 0x7f ? '?' : c);
}

void script_text_character(struct script_text *t, uint32_t c)
{
    unsigned more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

    if (c < 0x80 || c >> 11 == 0x1b) { // the latter: half of a pair
        script_text_byte(t, c < 0x80 ? (unsigned char)c : '?');
        return;
    }
    add_byte(t, (0xff00u >> (more + 1) & 0xff) | c >> 6 * more);
    while (more--)
        add_byte(t, 0x80 | (c >> 6 * more & 0x3f));
}

static void end_part(struct script_text *t, size_t next_end)
{
    t->end++;
    add_byte(t, '\t');
    t->end = next_end;
}

void script_text_end_function(struct script_text *t)
{
    end_part(t, FILE_END);
}

void script_text_end_file(struct script_text *t)
{
    end_part(t, SITES_NAME_MAX);
}

void script_text_line(struct script_text *t, unsigned line)
{
    t->used += log_format(t->bytes + t->used, sizeof t->bytes - t->used, "%u", line);
}

size_t script_text_room(const struct script_text *t)
{
    return t->end - t->used;
}

// The numbers of names by their keys: a hash above, the number below.
static _Atomic uint64_t known[2048];

static uintptr_t name_of(struct script *s, const uintptr_t key[4], script_make *make,
                         const void *function)
{
    uint64_t h = 0, have;
    struct script_text t;
    uintptr_t name;

    for (int i = 0; i < 4; i++) {
        h = (h ^ key[i]) * 0x9e3779b97f4a7c15;
        h ^= h >> 29;
    }
    _Atomic uint64_t *slot = &known[h % array_len(known)];
    have = atomic_load_explicit(slot, memory_order_acquire);
    if (have >> 32 == h >> 32 && (uint32_t)have)
        return sites_name_of((uint32_t)have);
    if (!make(s, function, &t))
        return 0;
    name = sites_name(t.bytes, t.used);
    if (!name)
        return UINTPTR_MAX;
    atomic_store_explicit(slot, h >> 32 << 32 | (uint32_t)name, memory_order_release);
    return name;
}

bool script_add(struct script *s, const uintptr_t key[4], script_make *make, const void *function)
{
    uintptr_t name = name_of(s, key, make, function);

    if (name && name != UINTPTR_MAX)
        s->name[s->count++] = name;
    return name;
}
