// show - rows of `tidepool top` as lines of a table: 80 columns hold all of it, and
// what there is more goes to the names and the bars.

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "shim/cli/top/top.h"

enum { NARROW = 80, BYTES = 12, NAME = 15, NAME_MAX_WIDTH = 31, BAR = 8, BAR_MAX = 40 };

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define INVERSE "\033[7m"
#define YELLOW "\033[33m"
#define RED "\033[31m"
#define RED_INVERSE "\033[1;37;41m"
#define PLAIN "\033[0m"

// A line under way; columns count without what the terminal takes for itself.
struct line {
    char *out;
    size_t size, used;
    unsigned width, columns;
    bool colours;
};

static struct line begin(char *out, size_t size, unsigned width, bool colours)
{
    out[0] = '\0';
    return (struct line){.out = out, .size = size, .width = width, .colours = colours};
}

// Never shown half.
static void colour(struct line *l, const char *sequence)
{
    size_t length = strlen(sequence);
    // Room for the one that ends it is kept.
    if (!l->colours || l->used + length + sizeof PLAIN >= l->size)
        return;
    strcpy(l->out + l->used, sequence);
    l->used += length;
}

static void put(struct line *l, char c)
{
    if (l->columns == l->width || l->used + 2 * sizeof PLAIN >= l->size)
        return;
    l->out[l->used++] = c >= ' ' && c <= '~' ? c : '?';
    l->out[l->used] = '\0';
    l->columns++;
}

static void text(struct line *l, const char *s)
{
    while (*s)
        put(l, *s++);
}

// Exactly `width` columns; a negative width stands for flush left.
static void field(struct line *l, int width, const char *s)
{
    unsigned wide = (unsigned)(width < 0 ? -width : width), length = (unsigned)strlen(s);
    for (unsigned i = length; width > 0 && i < wide; i++)
        put(l, ' ');
    for (unsigned i = 0; i < length && i < wide; i++)
        put(l, s[i]);
    for (unsigned i = length; width < 0 && i < wide; i++)
        put(l, ' ');
}

static void format(struct line *l, int width, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void format(struct line *l, int width, const char *fmt, ...)
{
    char s[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(s, sizeof s, fmt, args);
    va_end(args);
    field(l, width, s);
}

// At most five characters: 17, 1.2K, 34M, 1023G; a dash for what is not known.
static void size_text(char out[16], double bytes)
{
    static const char units[] = " KMGTPE";
    unsigned unit = 0;
    if (!isfinite(bytes) || bytes > 1e18) {
        strcpy(out, isnan(bytes) ? "-" : isinf(bytes) ? "none" : "huge");
        return;
    }
    // What would be rounded up to 1024 of one is 1 of the next.
    for (; unit < sizeof units - 2 && bytes >= 1023.5; unit++)
        bytes /= 1024;
    if (!unit)
        snprintf(out, 16, "%.0f", bytes);
    else
        snprintf(out, 16, bytes < 9.95 ? "%.1f%c" : "%.0f%c", bytes, units[unit]);
}

static void size_field(struct line *l, double bytes)
{
    char s[16];
    size_text(s, bytes);
    field(l, 5, s);
}

// At most five characters: 17, 99999, 1234k.
static void count_field(struct line *l, double count)
{
    if (isnan(count))
        field(l, 5, "-");
    else if (count < 99999.5)
        format(l, 5, "%.0f", count);
    else
        format(l, 5, count < 9.9995e6 ? "%.0fk" : "%.0fM",
               count < 9.9995e6 ? count / 1e3 : count / 1e6);
}

static void ratio_field(struct line *l, double ratio)
{
    if (isnan(ratio))
        field(l, 5, "-");
    else
        format(l, 5, ratio < 0.9995 ? "%.1f%%" : "%.0f%%", ratio * 100);
}

static void rate_field(struct line *l, double rate)
{
    if (isnan(rate))
        field(l, 4, "-");
    else
        format(l, 4, rate < 9.95 ? "%.1f" : "%.0f", rate < 9999 ? rate : 9999);
}

// Is there room for RSS and the limit in bytes?
static unsigned bytes_width(unsigned width)
{
    return width >= NARROW + BYTES ? BYTES : 0;
}

static unsigned spare(unsigned width)
{
    return width > NARROW ? width - NARROW - bytes_width(width) : 0;
}

// What is left over a narrow table: first the bytes, then names in full, then longer bars.
static unsigned name_width(unsigned width)
{
    unsigned more = spare(width) / 2;
    return NAME + (more < NAME_MAX_WIDTH - NAME ? more : NAME_MAX_WIDTH - NAME);
}

static unsigned bar_width(unsigned width)
{
    unsigned rest = spare(width) - (name_width(width) - NAME);
    return BAR + (rest < BAR_MAX - BAR ? rest : BAR_MAX - BAR);
}

// "####----  57%"
static void bar(struct line *l, double ratio, double limit)
{
    unsigned wide = bar_width(l->width);
    if (isnan(ratio) || isinf(limit)) {
        field(l, -(int)(wide + 4), isnan(ratio) ? "-" : "no limit");
        return;
    }
    double shown = ratio < 1 ? ratio : 1;
    for (unsigned i = 0; i < wide; i++)
        put(l, i + 0.5 < shown * wide ? '#' : '.');
    format(l, 4, "%.0f%%", ratio < 9.99 ? ratio * 100 : 999);
}

static const char *level_colour(double level)
{
    return level >= 3 ? RED_INVERSE : level >= 2 ? RED : level >= 1 ? YELLOW : "";
}

char *top_line(const struct top_row *r, bool colours, char *out, size_t size, unsigned width)
{
    struct line l = begin(out, size, width, colours);
    field(&l, -(int)name_width(width), r->comm);
    format(&l, 8, "%d", (int)r->pid);
    put(&l, ' ');
    if (r->state != CONTROL_ASKED) {
        char rss[16];
        size_text(rss, r->resident_bytes);
        colour(&l, DIM);
        text(&l, "RSS ");
        text(&l, rss);
        text(&l, "; ");
        text(&l, r->why);
        colour(&l, PLAIN);
        return out;
    }
    const char *level = isnan(r->level) ? "-" : top_levels[(int)r->level];
    colour(&l, level_colour(r->level));
    field(&l, -8, level);
    put(&l, ' ');
    bar(&l, r->usage_ratio, r->limit_bytes);
    colour(&l, PLAIN);
    if (bytes_width(width)) {
        put(&l, ' ');
        size_field(&l, r->resident_bytes);
        put(&l, ' ');
        size_field(&l, r->limit_bytes);
    }
    const double sizes[] = {r->malloc_bytes, r->pooled_bytes, r->slack_bytes};
    for (unsigned i = 0; i < 3; i++) {
        put(&l, ' ');
        size_field(&l, sizes[i]);
    }
    put(&l, ' ');
    ratio_field(&l, r->reuse_ratio);
    put(&l, ' ');
    count_field(&l, r->reclaims);
    put(&l, ' ');
    rate_field(&l, r->reclaims_per_s);
    return out;
}

static void title(struct line *l, enum top_sort column, enum top_sort by, int width, const char *s)
{
    colour(l, column == by ? PLAIN BOLD : "");
    // Without colours the letter case tells.
    char upper[32];
    size_t n = strnlen(s, sizeof upper - 1);
    for (size_t i = 0; i < n; i++)
        upper[i] = column == by && s[i] >= 'a' && s[i] <= 'z' ? (char)(s[i] - 32) : s[i];
    upper[n] = '\0';
    field(l, width, upper);
    colour(l, column == by ? PLAIN INVERSE : "");
}

char *top_heading(enum top_sort by, bool colours, char *out, size_t size, unsigned width)
{
    struct line l = begin(out, size, width, colours);
    static const char *const rest[] = {"live", "pool", "slack", "reuse", "recl"};
    colour(&l, INVERSE);
    title(&l, TOP_PROCESS, by, -(int)name_width(width), "process");
    title(&l, TOP_PID, by, 8, "pid");
    put(&l, ' ');
    title(&l, TOP_LEVEL, by, -9, "level");
    title(&l, TOP_USAGE, by, -(int)(bar_width(width) + 4), "usage");
    if (bytes_width(width))
        field(&l, BYTES, "rss limit");
    for (unsigned i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        put(&l, ' ');
        title(&l, (enum top_sort)(TOP_LIVE + i), by, 5, rest[i]);
    }
    put(&l, ' ');
    title(&l, TOP_RATE, by, 4, "/s");
    colour(&l, PLAIN);
    return out;
}

char *top_summary(const struct top *t, char *out, size_t size, unsigned width)
{
    struct line l = begin(out, size, width, false);
    double live = 0, pooled = 0, outside = 0;
    size_t asked = 0;
    char s[3][16];
    for (size_t i = 0; i < t->count; i++) {
        const struct top_row *r = &t->row[i];
        asked += r->state == CONTROL_ASKED;
        live += r->malloc_bytes > 0 ? r->malloc_bytes : 0;
        pooled += r->pooled_bytes > 0 ? r->pooled_bytes : 0;
        outside += r->outside_bytes > 0 ? r->outside_bytes : 0;
    }
    size_text(s[0], live);
    size_text(s[1], pooled);
    size_text(s[2], outside);
    char line[200], silent[48] = "", beside[40];
    // Their lines say why.
    if (asked < t->count)
        snprintf(silent, sizeof silent, ", %zu silent", t->count - asked);
    snprintf(line, sizeof line, "tidepool: %zu process%s%s; live %s, pool %s", t->count,
             t->count == 1 ? "" : "es", silent, s[0], s[1]);
    snprintf(beside, sizeof beside, ", outside malloc %s", s[2]);
    // A number that is cut is another number.
    if (strlen(line) + strlen(beside) <= width)
        strcat(line, beside);
    text(&l, line);
    return out;
}

const char *top_nothing(const struct top_filter *filter)
{
    return filter->pids || filter->service
               ? "no process under tidepool matches"
               : "no process under tidepool is to be seen: start one by tidepool PROGRAM";
}

const char *top_help(unsigned line)
{
    static const char *const lines[] = {
        "",
        "n p l u m f s r c t   sort by the columns from the left; < > by the one beside",
        "i                     turn the order round",
        "arrows, pages         scroll",
        "+ -                   double and halve the time; space reads now",
        "? h                   this; any key goes back",
        "q                     ends",
        "",
        "level   of memory pressure; usage: share of the limit; rss, limit: in bytes (wide)",
        "live    bytes that the program has of malloc; pool: kept for reuse; slack: rounding",
        "outside malloc, in the first line: a runtime's own heap, mmap, stacks",
        "reuse   share of requests from the pool; recl: reclaims so far; /s: of late",
    };
    return line < sizeof lines / sizeof lines[0] ? lines[line] : NULL;
}
