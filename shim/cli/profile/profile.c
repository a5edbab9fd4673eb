// profile - one pass over the lines; every read is bounded by the end of its line.

#include "shim/cli/profile/profile.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base.h"
#include "shim/cli/profile/find.h"
#include "shim/cli/profile/intern.h"

// No process has more than this; a larger figure is not a figure.
#define BYTES_MAX ((uint64_t)1 << 57)
#define RATE_MAX ((uint64_t)1 << 40)

struct line {
    const char *at, *end;
};

static bool next_line(const char **text, const char *end, struct line *l)
{
    if (*text == end)
        return false;
    const char *newline = memchr(*text, '\n', (size_t)(end - *text));
    l->at = *text;
    l->end = newline ? newline : end;
    *text = newline ? newline + 1 : end;
    if (l->end > l->at && l->end[-1] == '\r')
        l->end--;
    return true;
}

static void skip_blanks(struct line *l)
{
    while (l->at < l->end && (*l->at == ' ' || *l->at == '\t'))
        l->at++;
}

static bool take(struct line *l, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(l->end - l->at) < n || memcmp(l->at, word, n) != 0)
        return false;
    l->at += n;
    return true;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static bool take_number(struct line *l, unsigned base, uint64_t *out)
{
    uint64_t value = 0;
    const char *from = l->at;
    for (; l->at < l->end && (unsigned)digit_of(*l->at) < base; l->at++)
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit_of(*l->at), &value))
            return false;
    *out = value;
    return l->at > from;
}

// The rest up to a blank.
static struct line take_word(struct line *l)
{
    skip_blanks(l);
    struct line word = {l->at, l->at};
    while (word.end < l->end && *word.end != ' ' && *word.end != '\t')
        word.end++;
    l->at = word.end;
    return word;
}

static char *copy_of(const struct line *l)
{
    size_t n = (size_t)(l->end - l->at);
    size_t room = 0;
    char *out = room_for(NULL, &room, n + 1, 1);
    memcpy(out, l->at, n);
    // A path with a NUL in it would be two paths to the tools that are asked for it later.
    for (size_t i = 0; i < n; i++)
        if (!out[i])
            out[i] = '?';
    out[n] = '\0';
    return out;
}

// A block of `size` bytes was sampled with probability 1 - exp(-size / rate).
static double scale_of(uint64_t rate, uint64_t blocks, uint64_t bytes)
{
    if (rate <= 1 || !blocks || !bytes)
        return 1;
    return -1 / expm1(-((double)bytes / (double)blocks) / (double)rate);
}

// "  t*: blocks: bytes [...", of which the first two are wanted. False where it is another line.
static bool take_counts(struct line *l, uint64_t *blocks, uint64_t *bytes)
{
    skip_blanks(l);
    if (!take_number(l, 10, blocks) || !take(l, ":"))
        return false;
    skip_blanks(l);
    return take_number(l, 10, bytes) && *bytes <= BYTES_MAX && *blocks <= BYTES_MAX;
}

static bool read_stack(struct profile *p, struct line *l, struct profile_stack *s)
{
    *s = (struct profile_stack){.first = p->pc_count};
    for (;;) {
        uint64_t pc;
        skip_blanks(l);
        if (l->at == l->end)
            return true;
        if (!take(l, "0x") || !take_number(l, 16, &pc))
            return false;
        if (s->depth == PROFILE_DEPTH_MAX)
            return true;
        p->pcs = room_for(p->pcs, &p->pc_room, p->pc_count + 1, sizeof *p->pcs);
        p->pcs[p->pc_count++] = pc;
        s->depth++;
    }
}

// START-END PERMS OFFSET DEV INODE [PATH]
static bool read_map(struct profile *p, struct line l)
{
    struct profile_map m = {0};
    if (!take_number(&l, 16, &m.start) || !take(&l, "-") || !take_number(&l, 16, &m.end) ||
        m.start >= m.end)
        return false;
    struct line perms = take_word(&l);
    skip_blanks(&l);
    if (!take_number(&l, 16, &m.offset))
        return false;
    m.executable = memchr(perms.at, 'x', (size_t)(perms.end - perms.at)) != NULL;
    take_word(&l);
    take_word(&l);
    skip_blanks(&l);
    m.path = copy_of(&l);
    p->maps = room_for(p->maps, &p->map_room, p->map_count + 1, sizeof *p->maps);
    p->maps[p->map_count++] = m;
    return true;
}

// Ends the text at its first tab; what is behind it.
static char *split(char *text)
{
    char *end = text + strcspn(text, "\t");
    if (!*end)
        return end;
    *end = '\0';
    return end + 1;
}

// "NAME NUMBER" of the names we know.
static void read_fact(struct profile *p, struct line l)
{
    const struct {
        const char *name;
        uint64_t *value;
    } facts[] = {
        {"pid ", &p->pid},
        {"interval_bytes ", &p->interval_bytes},
        {"outside_bytes ", &p->outside_bytes},
        {"samples ", &p->samples},
        {"dropped ", &p->dropped},
    };
    for (size_t i = 0; i < array_len(facts); i++) {
        uint64_t value;
        struct line rest = l;
        if (take(&rest, facts[i].name) && take_number(&rest, 10, &value) && rest.at == rest.end)
            *facts[i].value = value;
    }
}

// "build-id PATH HEX": the path may hold blanks, so the id is the last word.
static void read_build_id(struct profile *p, struct line l)
{
    if (!take(&l, "build-id ") || l.at == l.end)
        return;
    struct line id = {l.end, l.end};
    while (id.at > l.at && digit_of(id.at[-1]) < 16)
        id.at--;
    if (id.at == id.end || id.at - l.at < 2 || id.at[-1] != ' ')
        return;
    struct line path = {l.at, id.at - 1};
    struct profile_build b = {copy_of(&path), copy_of(&id)};
    for (char *c = b.id; *c; c++)
        if (*c >= 'A' && *c <= 'F')
            *c += 'a' - 'A';
    p->builds = room_for(p->builds, &p->build_room, p->build_count + 1, sizeof *p->builds);
    p->builds[p->build_count++] = b;
}

// "name 0xFRAME LANGUAGE\tFUNCTION\tFILE\tLINE"
static void read_name(struct profile *p, struct line l)
{
    struct profile_name n = {0};
    uint64_t line = 0;
    if (!take(&l, "name 0x") || !take_number(&l, 16, &n.pc) || !take(&l, " "))
        return;
    n.language = copy_of(&l);
    n.function = split(n.language);
    n.file = split(n.function);
    const char *digits = split(n.file);
    struct line rest = {digits, digits + strlen(digits)};
    if (take_number(&rest, 10, &line) && line <= INT_MAX)
        n.line = (unsigned)line;
    p->names = room_for(p->names, &p->name_room, p->name_count + 1, sizeof *p->names);
    p->names[p->name_count++] = n;
}

static int by_pc(const void *a, const void *b)
{
    const struct profile_name *x = a, *y = b;
    return (x->pc > y->pc) - (x->pc < y->pc);
}

static int by_start(const void *a, const void *b)
{
    const struct profile_map *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

// The kernel writes them ascending and disjoint; an editor may have changed them since.
static void order_maps(struct profile *p)
{
    size_t kept = 0;
    if (p->map_count)
        qsort(p->maps, p->map_count, sizeof *p->maps, by_start);
    for (size_t i = 0; i < p->map_count; i++) {
        if (kept && p->maps[i].start < p->maps[kept - 1].end) {
            free(p->maps[i].path);
            p->bad_lines++;
            continue;
        }
        p->maps[kept++] = p->maps[i];
    }
    p->map_count = kept;
}

static void add_stack(struct profile *p, const struct profile_stack *open, struct line *l)
{
    uint64_t blocks, bytes;
    if (!take_counts(l, &blocks, &bytes)) {
        p->bad_lines++;
        return;
    }
    if (!bytes || !open->depth)
        return;
    struct profile_stack s = *open;
    double scale = scale_of(p->rate, blocks, bytes);
    s.bytes = fmin((double)bytes * scale, (double)BYTES_MAX);
    s.blocks = fmin((double)blocks * scale, (double)BYTES_MAX);
    p->stacks = room_for(p->stacks, &p->stack_room, p->stack_count + 1, sizeof *p->stacks);
    p->stacks[p->stack_count++] = s;
}

// A thread's own line: "t0: ...". The sum over threads stands in t*.
static bool is_thread_line(struct line l)
{
    return take(&l, "t") && l.at < l.end && *l.at >= '0' && *l.at <= '9';
}

static void read_line(struct profile *p, struct line l, struct profile_stack *open, bool *is_open)
{
    struct line whole = l;
    skip_blanks(&l);
    if (l.at == l.end)
        return;
    if (take(&l, "#")) {
        skip_blanks(&l);
        read_fact(p, l);
        read_build_id(p, l);
        read_name(p, l);
    } else if (take(&l, "MAPPED_LIBRARIES:")) {
        p->mapped = true;
        *is_open = false;
    } else if (p->mapped) {
        p->bad_lines += !read_map(p, whole);
    } else if (take(&l, "@")) {
        *is_open = read_stack(p, &l, open);
        p->bad_lines += !*is_open;
    } else if (take(&l, "t*:")) {
        // The one before any stack is the sum of all.
        if (*is_open)
            add_stack(p, open, &l);
        *is_open = false;
    } else if (!is_thread_line(l)) {
        p->bad_lines++;
    }
}

int profile_parse(const char *text, size_t size, struct profile *p)
{
    const char *end = text + size;
    struct profile_stack open = {0};
    bool is_open = false;
    struct line l;
    *p = (struct profile){0};
    if (!next_line(&text, end, &l) || !take(&l, "heap_v2/") || !take_number(&l, 10, &p->rate) ||
        p->rate > RATE_MAX)
        return -EINVAL;
    while (next_line(&text, end, &l))
        read_line(p, l, &open, &is_open);
    order_maps(p);
    if (p->name_count)
        qsort(p->names, p->name_count, sizeof *p->names, by_pc);
    return 0;
}

const struct profile_map *profile_find_map(const struct profile *p, uint64_t pc)
{
    size_t n = starts_up_to(p->maps, p->map_count, sizeof *p->maps, pc);
    return n && pc < p->maps[n - 1].end ? &p->maps[n - 1] : NULL;
}

const struct profile_name *profile_find_name(const struct profile *p, uint64_t pc)
{
    struct profile_name key = {.pc = pc};
    return p->name_count ? bsearch(&key, p->names, p->name_count, sizeof key, by_pc) : NULL;
}

void profile_free(struct profile *p)
{
    for (size_t i = 0; i < p->map_count; i++)
        free(p->maps[i].path);
    for (size_t i = 0; i < p->build_count; i++) {
        free(p->builds[i].path);
        free(p->builds[i].id);
    }
    for (size_t i = 0; i < p->name_count; i++)
        free(p->names[i].language);
    free(p->names);
    free(p->pcs);
    free(p->stacks);
    free(p->maps);
    free(p->builds);
    *p = (struct profile){0};
}
