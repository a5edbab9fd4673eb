// perfmap - found by the digits in a profile's name, searched by address.

#include "shim/cli/symbols/perfmap.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/profile/file.h"
#include "shim/cli/profile/find.h"
#include "shim/cli/profile/intern.h"

enum { MAP_MAX = 1 << 30 };

static int by_start(const void *a, const void *b)
{
    const struct perfmap_entry *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->name > y->name) - (x->name < y->name); // in the order of their lines
}

void perfmap_parse(struct perfmap *m, char *text)
{
    char *state = NULL;
    *m = (struct perfmap){.text = text};
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        char *size_at, *name;
        struct perfmap_entry e = {.start = strtoull(line, &size_at, 16)};
        e.size = strtoull(size_at, &name, 16);
        if (size_at == line || name == size_at || *name != ' ' || !name[1])
            continue;
        e.name = name + 1;
        m->entries = room_for(m->entries, &m->room, m->count + 1, sizeof *m->entries);
        m->entries[m->count++] = e;
    }
    if (m->count)
        qsort(m->entries, m->count, sizeof *m->entries, by_start);
}

// Every user writes to /tmp: another user's map would be read as this process's code.
static bool try_load(struct perfmap *m, const char *dir, size_t dir_length, uint64_t pid,
                     uid_t owner)
{
    char path[PATH_MAX];
    size_t size;
    int n = snprintf(path, sizeof path, "%.*sperf-%" PRIu64 ".map", (int)dir_length, dir, pid);
    int fd = n < 0 || n >= (int)sizeof path ? -1 : file_open_owned(path, owner);
    char *text = fd < 0 ? NULL : file_read(fd, MAP_MAX, &size);
    if (!text)
        return false;
    perfmap_parse(m, text);
    return true;
}

static bool try_pid(struct perfmap *m, const char *profile_path, size_t dir_length,
                    const char *root, uint64_t pid, uid_t owner)
{
    char tmp[PATH_MAX];
    snprintf(tmp, sizeof tmp, "%s/tmp/", root);
    bool is_beside = strcmp(profile_path, "-") != 0;
    return (is_beside && try_load(m, profile_path, dir_length, pid, owner)) ||
           try_load(m, tmp, strlen(tmp), pid, owner);
}

void perfmap_load(struct perfmap *m, const char *profile_path, const char *root, uid_t owner,
                  uint64_t pid)
{
    *m = (struct perfmap){0};
    const char *name = basename(profile_path);
    size_t dir_length = (size_t)(name - profile_path);
    if (pid) {
        try_pid(m, profile_path, dir_length, root, pid, owner);
        return;
    }
    for (const char *p = name; *p;) {
        size_t digits = strspn(p, "0123456789");
        if (digits && digits < 12 &&
            try_pid(m, profile_path, dir_length, root, strtoull(p, NULL, 10), owner))
            return;
        p += digits ? digits : 1;
    }
}

const char *perfmap_find(const struct perfmap *m, uint64_t pc)
{
    size_t n = starts_up_to(m->entries, m->count, sizeof *m->entries, pc);
    // Code that was moved leaves its old line behind; of several at one address the last one
    // counts.
    if (n && pc - m->entries[n - 1].start < m->entries[n - 1].size)
        return m->entries[n - 1].name;
    return NULL;
}

void perfmap_free(struct perfmap *m)
{
    free(m->text);
    free(m->entries);
    *m = (struct perfmap){0};
}
