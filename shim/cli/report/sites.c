// sites - the table in the terminal: what holds most.

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/cli/common/out.h"
#include "shim/cli/profile/names.h"
#include "shim/cli/report/report.h"

enum { WIDTH_MIN = 60, CALLERS_COLUMN = 15, CALLERS_WIDTH_MAX = 120, NAME_MAX_BYTES = 4096 };

struct screen {
    FILE *f;
    size_t width;
    const char *bold, *faint, *plain;
};

// A file is not cut: its reader can fold its lines.
static struct screen screen_of(FILE *f)
{
    struct screen s = {f, SIZE_MAX, "", "", ""};
    const char *columns = getenv("COLUMNS"), *term = getenv("TERM");
    struct winsize size;
    if (isatty(fileno(f)) && out_may_colour() && term && strcmp(term, "dumb") != 0) {
        s.bold = "\033[1m";
        s.faint = "\033[2m";
        s.plain = "\033[0m";
    }
    if (isatty(fileno(f)))
        s.width = ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    else if (columns && *columns)
        s.width = strtoul(columns, NULL, 10);
    if (s.width < WIDTH_MIN)
        s.width = WIDTH_MIN;
    return s;
}

// " (file:line)" or " [module]"; the module is said where the function tells nothing of it.
static void place_of(const struct stacks *s, const struct frame *f, char *out, size_t size)
{
    const char *file = stacks_text(s, f->file), *module = stacks_text(s, f->module);
    if (*file && f->line)
        snprintf(out, size, " (%s:%u)", basename(file), f->line);
    else if (*file)
        snprintf(out, size, " (%s)", basename(file));
    else if (*module && *module != '[' && f->function)
        snprintf(out, size, " [%s]", basename(module));
    else
        out[0] = '\0';
}

static size_t room_left(size_t width, size_t used)
{
    return width > used ? width - used : 0;
}

// The name without the outer ones of its scopes, until it fits or there are no more.
static const char *inner_scopes(const char *name, size_t columns)
{
    int depth = 0;
    const char *at = name;
    for (const char *p = name; *p && strlen(at) + 3 > columns; p++) {
        depth += strchr("(<{", *p) != NULL;
        depth -= strchr(")>}", *p) != NULL;
        if (depth == 0 && p[0] == ':' && p[1] == ':' && p[2])
            at = p + 2;
    }
    return at;
}

static size_t put_fitting(FILE *f, const char *name, size_t columns)
{
    if (strlen(name) <= columns)
        return out_plain(f, name, columns);
    const char *inner = inner_scopes(name, columns);
    size_t dots = inner == name || columns < 3 ? 0 : 3;
    return out_plain(f, "...", dots) + out_plain(f, inner, columns - dots);
}

static void put_name(const struct screen *t, const struct stacks *s, const struct frame *f,
                     size_t column)
{
    char name[NAME_MAX_BYTES], where[NAME_MAX_BYTES];
    const char *text = stacks_text(s, f->function ? f->function : f->module);
    name_shorten(text, name, sizeof name);
    place_of(s, f, where, sizeof where);
    size_t room = room_left(t->width, column), wanted = strlen(where);
    // An offset names its file already, and of a line that is full the file can be spared.
    if (!f->line && (strstr(name, "+0x") || strlen(name) + wanted > room))
        wanted = where[0] = 0;
    if (wanted > room / 2)
        wanted = room / 2;
    fputs(t->bold, t->f);
    size_t used = put_fitting(t->f, name, room - wanted);
    fputs(t->plain, t->f);
    out_plain(t->f, where, room - used);
}

// What every program and thread begins with.
static bool is_start(const char *function)
{
    static const char *const names[] = {
        "_start",
        "__libc_start_main",
        "__libc_start_main_impl",
        "__libc_start_call_main",
        "start_thread",
        "clone",
        "clone3",
        "__clone3",
    };
    for (size_t i = 0; i < array_len(names); i++) {
        if (strcmp(function, names[i]) == 0)
            return true;
    }
    return false;
}

// "from caller, its caller, ...", of the stack that holds most, on a line of its own.
static void put_callers(const struct screen *t, const struct stacks *s, const struct row *r)
{
    const size_t width = t->width < CALLERS_WIDTH_MAX ? t->width : CALLERS_WIDTH_MAX;
    size_t depth, used = CALLERS_COLUMN;
    const uint32_t *frames = stacks_frames(s, r->stack, &depth);
    const char *last = stacks_text(s, r->frame.function);
    char name[NAME_MAX_BYTES];
    bool first = true;
    for (size_t i = depth - 1; i-- > 0;) {
        const char *function = stacks_text(s, stacks_get(s, frames[i])->function);
        if (is_start(function) || strcmp(function, last) == 0)
            continue;
        last = function;
        name_shorten(function, name, sizeof name);
        size_t room = room_left(width, used + strlen(", , ..."));
        // Callers in full are worth more than one more cut short.
        if (!first && strlen(name) > room) {
            fputs(", ...", t->f);
            break;
        }
        if (first)
            fprintf(t->f, "%*s%sfrom ", CALLERS_COLUMN - 5, "", t->faint);
        else
            used += (size_t)fprintf(t->f, ", ");
        used += put_fitting(t->f, name, room);
        first = false;
    }
    if (!first)
        fprintf(t->f, "%s\n", t->plain);
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

static void put_row(const struct report *r, const struct screen *t, const struct row *row,
                    double sum)
{
    const struct held *own = &row->own, *total = &r->stacks.total;
    double bytes = own->bytes[SIDE_NOW], blocks = own->blocks[SIDE_NOW];
    char a[OUT_SIZE_MAX], b[OUT_SIZE_MAX], c[OUT_SIZE_MAX];
    int column;
    if (r->old_name)
        column = fprintf(t->f, "%9s %8s %8s %9" PRIu64 "  ",
                         out_change(a, bytes - own->bytes[SIDE_BEFORE]), out_size(b, bytes),
                         out_size(c, own->bytes[SIDE_BEFORE]), out_whole(blocks));
    else if (r->by == BY_FUNCTION)
        column =
            fprintf(t->f, "%8s %5.1f%% %5.1f%% %8s %9" PRIu64 "  ", out_size(a, bytes),
                    percent(bytes, total->bytes[SIDE_NOW]), percent(sum, total->bytes[SIDE_NOW]),
                    out_size(b, row->with.bytes[SIDE_NOW]), out_whole(blocks));
    else
        column =
            fprintf(t->f, "%8s %5.1f%% %5.1f%% %9" PRIu64 " %7s  ", out_size(a, bytes),
                    percent(bytes, total->bytes[SIDE_NOW]), percent(sum, total->bytes[SIDE_NOW]),
                    out_whole(blocks), blocks > 0 ? out_size(b, bytes / blocks) : "-");
    put_name(t, &r->stacks, &row->frame, (size_t)column);
    fputc('\n', t->f);
    if (r->by == BY_SITE)
        put_callers(t, &r->stacks, row);
}

// 512K, not 512.0K: the interval is a setting, and is written as one.
static const char *round_size(char room[OUT_SIZE_MAX], double bytes)
{
    out_size(room, bytes);
    char *zero = strstr(room, ".0");
    if (zero)
        memmove(zero, zero + 2, strlen(zero + 2) + 1);
    return room;
}

static void put_head(const struct report *r, const struct screen *t)
{
    const struct held *total = &r->stacks.total;
    char a[OUT_SIZE_MAX], b[OUT_SIZE_MAX];
    out_plain(t->f, report_title(r->names[0]), 48);
    if (r->name_count > 1)
        fprintf(t->f, " and %zu more", r->name_count - 1);
    fprintf(t->f, ": %s%s%s live in %" PRIu64 " blocks", t->bold,
            out_size(a, total->bytes[SIDE_NOW]), t->plain, out_whole(total->blocks[SIDE_NOW]));
    if (r->interval_bytes > 1)
        fprintf(t->f, ", by a sample every %s", round_size(b, (double)r->interval_bytes));
    fputc('\n', t->f);
    if (r->interval_bytes > 1 && total->blocks[SIDE_NOW] <= 0)
        fputs("no sampled block was live: all were freed, or less was asked for than a sample's "
              "interval (tidepool --sample=16K sees more)\n",
              t->f);
    if (r->dropped)
        fprintf(t->f, "%" PRIu64 " of %" PRIu64 " samples had no room and are missing\n",
                r->dropped, r->samples + r->dropped);
    if (r->outside_bytes >= OUTSIDE_MIN)
        fprintf(t->f,
                "mapped outside malloc: %s, not shown below (a runtime's own heap, mmap, stacks)\n",
                out_size(a, (double)r->outside_bytes));
    if (!r->old_name)
        return;
    double change = total->bytes[SIDE_NOW] - total->bytes[SIDE_BEFORE];
    fprintf(t->f, "%s since ", out_change(a, change));
    out_plain(t->f, report_title(r->old_name), 48);
    fprintf(t->f, ", which was %s\n", out_size(b, total->bytes[SIDE_BEFORE]));
}

static const char *column_names(const struct report *r)
{
    static const char *const who[] = {
        [BY_SITE] = "call site", [BY_FUNCTION] = "function", [BY_MODULE] = "module"};
    static char line[128];
    snprintf(line, sizeof line, "%s  %s",
             r->old_name            ? "   change      now   before    blocks"
             : r->by == BY_FUNCTION ? "   bytes      %   sum%  callees    blocks"
                                    : "   bytes      %   sum%    blocks    each",
             who[r->by]);
    return line;
}

static bool worth_showing(const struct report *r, const struct row *row)
{
    if (r->old_name)
        return row->own.bytes[SIDE_NOW] != row->own.bytes[SIDE_BEFORE];
    return row->own.bytes[SIDE_NOW] > 0 || r->by == BY_FUNCTION;
}

void report_top(const struct report *r, FILE *f)
{
    struct screen t = screen_of(f);
    struct rows rows = rows_make(&r->stacks, r->by, r->old_name != NULL);
    double sum = 0;
    size_t shown = 0, left = 0;
    put_head(r, &t);
    if (rows.count)
        fprintf(f, "\n%s%s%s\n", t.faint, column_names(r), t.plain);
    for (size_t i = 0; i < rows.count; i++) {
        if (!worth_showing(r, &rows.rows[i]))
            continue;
        if (r->top && shown == r->top) {
            left++;
            continue;
        }
        sum += rows.rows[i].own.bytes[SIDE_NOW];
        put_row(r, &t, &rows.rows[i], sum);
        shown++;
    }
    char a[OUT_SIZE_MAX];
    if (left && !r->old_name)
        fprintf(f, "%8s %5.1f%%  in %zu more\n", out_size(a, r->stacks.total.bytes[SIDE_NOW] - sum),
                percent(r->stacks.total.bytes[SIDE_NOW] - sum, r->stacks.total.bytes[SIDE_NOW]),
                left);
    else if (left)
        fprintf(f, "and %zu more\n", left);
    rows_free(&rows);
}
