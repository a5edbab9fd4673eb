#include "pressure/usage/cgroup_find.h"

#include <errno.h>
#include <string.h>

#include "pressure/kernel/text.h"

// Is `word` an element of this list?
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    }
    return false;
}

// ID:CONTROLLERS:PATH, and the path may have colons.
bool cgroup_parse_line(char *line, struct cgroup_line *out)
{
    char *list = strchr(line, ':');
    if (!list)
        return false;
    *list++ = '\0';
    char *path = strchr(list, ':');
    if (!path)
        return false;
    *path++ = '\0';
    if (*path != '/')
        return false;
    // A removed cgroup goes by its old name with this behind it; its parents are still there.
    static const char deleted[] = " (deleted)";
    size_t n = strlen(path), m = sizeof deleted - 1;
    if (n > m && strcmp(path + n - m, deleted) == 0)
        path[n - m] = '\0';
    out->v1_memory = has_word(list, "memory");
    out->v2 = strcmp(line, "0") == 0 && *list == '\0';
    out->path = path;
    return true;
}

static char *next_field(char **p)
{
    char *field = *p;
    if (!field)
        return NULL;
    char *end = strchr(field, ' ');
    if (end)
        *end++ = '\0';
    *p = end;
    return field;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

// \040 is a space, and so on; in place, since it only gets shorter.
static void unescape(char *s)
{
    char *to = s;
    while (*s) {
        if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

// ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS
bool cgroup_parse_mount(char *line, struct cgroup_mount *out)
{
    char *p = line;
    for (int i = 0; i < 3; i++)
        next_field(&p);
    char *root = next_field(&p);
    char *point = next_field(&p);
    char *field = point;
    while (field && strcmp(field, "-") != 0)
        field = next_field(&p);
    char *type = next_field(&p);
    next_field(&p);
    char *super = next_field(&p);
    if (!type || *root != '/' || *point != '/')
        return false;
    out->v2 = strcmp(type, "cgroup2") == 0;
    out->v1_memory = strcmp(type, "cgroup") == 0 && super && has_word(super, "memory");
    unescape(root);
    unescape(point);
    out->root = root;
    out->point = point;
    return true;
}

static bool append(struct cgroup_dir *d, const char *s)
{
    size_t n = strlen(s);
    if (d->len + n >= CGROUP_PATH)
        return false;
    memcpy(d->path + d->len, s, n + 1);
    d->len += n;
    return true;
}

// The path of a file in the first `len` bytes' directory, built in place behind it.
const char *cgroup_file_at(struct cgroup_dir *d, size_t len, const char *name, char saved[64])
{
    size_t n = strlen(name);
    memcpy(saved, d->path + len, n + 2);
    d->path[len] = '/';
    memcpy(d->path + len + 1, name, n + 1);
    return d->path;
}

void cgroup_file_done(struct cgroup_dir *d, size_t len, const char *name, const char saved[64])
{
    memcpy(d->path + len, saved, strlen(name) + 2);
}

int cgroup_read_at(struct cgroup_dir *d, size_t len, const char *name, char *buf, size_t size)
{
    char saved[64];
    int n = text_read(cgroup_file_at(d, len, name, saved), buf, size);
    cgroup_file_done(d, len, name, saved);
    return n;
}

static bool exists_at(struct cgroup_dir *d, size_t len, const char *name)
{
    char c[2];
    return cgroup_read_at(d, len, name, c, sizeof c) >= 0;
}

size_t cgroup_parent(const struct cgroup_dir *d, size_t len)
{
    while (len > d->mount_len && d->path[len - 1] != '/')
        len--;
    return len > d->mount_len ? len - 1 : d->mount_len;
}

// How much of `path` lies below the mount's root; NULL if it does not, so far as names tell.
static const char *below(const char *root, const char *path)
{
    size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    // A process outside its cgroup namespace has a path that climbs: there is no such directory.
    if (strncmp(path + n, "/..", 3) == 0)
        return NULL;
    return strcmp(path + n, "/") == 0 ? "" : path + n;
}

// Puts our directory in this mount into *d. Where a level lacks the file (the controller is not
// enabled there, or the cgroup is gone) the next one above is what accounts for us.
static bool place(struct cgroup_dir *d, const char *root, const struct cgroup_mount *m,
                  const char *path, const char *probe)
{
    d->len = 0;
    // Mounted from above a namespace ("/../.."): the names between are not ours to see. The mount
    // itself is then an ancestor, and the one level that can be read.
    const char *rest = below(m->root, path);
    if (!append(d, root) || !append(d, strcmp(m->point, "/") == 0 ? "" : m->point))
        return false;
    d->mount_len = d->len;
    if (!append(d, rest ? rest : ""))
        return false;
    for (;;) {
        d->path[d->len] = '\0';
        if (exists_at(d, d->len, probe))
            return true;
        if (d->len == d->mount_len)
            return false;
        d->len = cgroup_parent(d, d->len);
    }
}

static uint64_t hash(uint64_t h, const char *s)
{
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h;
}

// 0 or -errno. Without `paths` only the hash: has anything changed?
static int read_lines(const char *root, uint64_t *line_hash, struct cgroup_paths *paths)
{
    struct text_lines lines;
    struct cgroup_line line;
    char file[256];
    if (strlen(root) > 200)
        return -ENAMETOOLONG;
    strcpy(stpcpy(file, root), "/proc/self/cgroup");
    int r = text_open(&lines, file);
    if (r)
        return r;
    *line_hash = UINT64_C(0xcbf29ce484222325);
    for (char *text; (text = text_next(&lines));) {
        if (!cgroup_parse_line(text, &line) || !(line.v1_memory || line.v2))
            continue;
        *line_hash = hash(*line_hash ^ line.v1_memory, line.path);
        if (paths)
            strcpy(line.v1_memory ? paths->v1 : paths->v2, line.path);
    }
    text_close(&lines);
    return 0;
}

// The mount that shows most of our ancestors wins: the shortest root above us. One that we are not
// below, so far as its name tells, is better than nothing.
static unsigned rank(const struct cgroup_mount *m, const char *path)
{
    size_t n = strlen(m->root);
    return below(m->root, path) ? (unsigned)n : 1u << 20;
}

static void try_mount(struct cgroup_found *f, struct cgroup_dir *to, unsigned *best,
                      const struct cgroup_mount *m, const char *path, const char *probe)
{
    unsigned r = rank(m, path);
    if (*path == '\0' || r >= *best || !place(&f->scratch, f->root, m, path, probe))
        return;
    *best = r;
    to->len = f->scratch.len;
    to->mount_len = f->scratch.mount_len;
    memcpy(to->path, f->scratch.path, f->scratch.len + 1);
}

int cgroup_find(struct cgroup_found *f)
{
    struct text_lines lines;
    struct cgroup_mount m;
    char file[256];
    unsigned best_memory = UINT32_MAX, best_unified = UINT32_MAX;

    f->memory.len = f->unified.len = 0;
    f->paths.v1[0] = f->paths.v2[0] = '\0';
    int r = read_lines(f->root, &f->line_hash, &f->paths);
    if (r)
        return r;
    // A controller is in one hierarchy at a time: where a v1 line names memory, v2 cannot have it.
    f->v2 = f->paths.v1[0] == '\0';
    strcpy(stpcpy(file, f->root), "/proc/self/mountinfo");
    r = text_open(&lines, file);
    if (r)
        return r;
    for (char *text; (text = text_next(&lines));) {
        if (!cgroup_parse_mount(text, &m))
            continue;
        if (m.v1_memory)
            try_mount(f, &f->memory, &best_memory, &m, f->paths.v1, "memory.usage_in_bytes");
        if (m.v2 && f->v2)
            try_mount(f, &f->memory, &best_memory, &m, f->paths.v2, "memory.stat");
        if (m.v2)
            try_mount(f, &f->unified, &best_unified, &m, f->paths.v2, "memory.pressure");
    }
    text_close(&lines);
    return f->memory.len ? 0 : -ENOENT;
}

bool cgroup_moved(const struct cgroup_found *f)
{
    uint64_t now;
    return read_lines(f->root, &now, NULL) == 0 && now != f->line_hash;
}
