// top - `tidepool top`: the command line and the loop.

#include "shim/cli/top/top.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/cli/common/cli.h"
#include "shim/cli/common/out.h"
#include "shim/cli/top/term.h"
#include "shim/config/parse.h"

enum {
    LEAST_MS = 100,
    MOST_MS = 3600000,
    USUAL_MS = 2000,
    LINE_BYTES = 1024,
    FRAME_ROWS_MAX = 500,
    COUNT_MAX = 1000000000
};

static struct {
    struct top_filter filter;
    enum top_sort sort;
    bool turned, once, json, csv, interval_given, help;
    unsigned interval_ms, count; // readings; 0: as many as there is time for
} opt = {.sort = TOP_USAGE, .interval_ms = USUAL_MS};

static const char usage[] =
    "Usage: tidepool top [options]\n"
    "What the processes under tidepool on this machine hold.\n\n"
    "      --once            one table, then end; with -d, after that time, with rates\n"
    "      --json            one JSON object a reading; ends after one, unless -d is given\n"
    "      --watch-csv       for recording: one line of CSV a process and reading, and a heading\n"
    "      --count=N         ends after N readings\n"
    "  -d, --delay=SECONDS   time between two readings, from 0.1 on [2]\n"
    "      --sort=COLUMN     process, pid, level, usage, live, pooled, slack, reuse,\n"
    "                        reclaims or rate [usage]\n"
    "      --reverse         the other way round\n"
    "      --pid=PID,...     these processes only\n"
    "      --service=GLOB    those whose TIDEPOOL_LABELS name such a service\n\n"
    "Keys: n p l u m f s r c t sort by the columns from the left, < and > by the one beside, i\n"
    "turns the order round; arrows and pages scroll; + and - double and halve the time; the\n"
    "space bar reads now; ? shows the keys and what the columns mean; q ends.\n";

static bool take_seconds(const char *text, unsigned *ms)
{
    char *end;
    double s = strtod(text, &end);
    if (end == text || *end || !(s * 1000 >= LEAST_MS && s * 1000 <= MOST_MS))
        return false;
    *ms = (unsigned)(s * 1000 + 0.5);
    return true;
}

static bool take_sort(const char *text)
{
    int column = top_column_find(text);
    if (column < 0)
        return false;
    opt.sort = (enum top_sort)column;
    return true;
}

static bool take_pids(const char *text)
{
    for (const char *at = text;; at++) {
        uint64_t pid;
        if (!scan_number(&at, &pid) || !pid || pid > INT32_MAX)
            return false;
        if (*at != ',') {
            opt.filter.pids = text;
            return !*at;
        }
    }
}

static bool take_service(const char *text)
{
    opt.filter.service = text;
    return globs_valid(text);
}

static bool take_delay(const char *text)
{
    opt.interval_given = true;
    return take_seconds(text, &opt.interval_ms);
}

static bool take_count(const char *text)
{
    uint64_t n;
    if (!scan_number(&text, &n) || *text || !n || n > COUNT_MAX)
        return false;
    opt.count = (unsigned)n;
    return true;
}

static const struct valued {
    const char *name, *form;
    bool (*take)(const char *text);
} valued[] = {
    {"--delay", "seconds from 0.1 to 3600", take_delay},
    {"-d", "seconds from 0.1 to 3600", take_delay},
    {"--sort", "a column: process, pid, level, usage, live, pooled, slack, reuse, reclaims or rate",
     take_sort},
    {"--count", "a number of readings", take_count},
    {"--pid", "PID,...", take_pids},
    {"--service", "GLOB,... without slashes", take_service},
};

static const struct plain {
    const char *name;
    bool *set;
} plain[] = {{"--once", &opt.once},
             {"--json", &opt.json},
             {"--watch-csv", &opt.csv},
             {"--reverse", &opt.turned}};

// Takes one option that has a value; how many words it was, 0 if it is none of these, or -1 after
// saying what is wrong.
static int take_valued(char **args)
{
    for (unsigned i = 0; i < array_len(valued); i++) {
        size_t length = strlen(valued[i].name);
        const char *value = args[0] + length;
        int words = 1;
        if (strncmp(args[0], valued[i].name, length) != 0)
            continue;
        if (*value == '=') {
            value++;
        } else if (!*value) {
            value = args[1];
            words = 2;
        } else if (args[0][1] == '-') {
            continue; // --pids; but -d2 is good
        }
        if (value && valued[i].take(value))
            return words;
        launcher_fail(0, "top: %s%s%s: expected %s", valued[i].name, value ? "=" : "",
                      value ? value : "", valued[i].form);
        return -1;
    }
    return 0;
}

static bool take_plain(const char *arg)
{
    for (unsigned i = 0; i < array_len(plain); i++)
        if (strcmp(arg, plain[i].name) == 0) {
            *plain[i].set = true;
            return true;
        }
    return false;
}

// 0, or an exit code, or -1 where the help was all that was asked for.
static int take_options(char **args)
{
    while (*args) {
        if (strcmp(*args, "--help") == 0 || strcmp(*args, "-h") == 0) {
            fputs(usage, stdout);
            return -1;
        }
        int words = take_plain(*args) ? 1 : take_valued(args);
        if (words < 0)
            return EXIT_OURS;
        if (!words && **args && strspn(*args, "0123456789,") == strlen(*args))
            return launcher_fail(EXIT_OURS, "top: %s: no such option; did you mean --pid=%s?",
                                 *args, *args);
        if (!words)
            return launcher_fail(EXIT_OURS, "top: %s: no such option; tidepool top --help", *args);
        args += words;
    }
    if (opt.json && opt.csv)
        return launcher_fail(EXIT_OURS, "top: --json and --watch-csv exclude each other");
    return 0;
}

static bool read_now(struct top *t)
{
    if (!top_read(t, &opt.filter))
        return false;
    top_sort(t, opt.sort, opt.turned);
    return true;
}

static void print_table(const struct top *t)
{
    char line[LINE_BYTES];
    unsigned columns = 80, rows;
    if (isatty(STDOUT_FILENO))
        term_size(&columns, &rows);
    puts(top_summary(t, line, sizeof line, columns));
    puts(top_heading(opt.sort, false, line, sizeof line, columns));
    for (size_t i = 0; i < t->count; i++)
        puts(top_line(&t->row[i], false, line, sizeof line, columns));
    if (!t->count)
        puts(top_nothing(&opt.filter));
}

// Sleeps until an interval after *due, which becomes that; after a reading that took longer it is
// now, and what was missed is not made up for.
static void sleep_interval(uint64_t *due)
{
    uint64_t now = launcher_now_ms(), next = *due + opt.interval_ms, rest;
    *due = next > now ? next : now;
    rest = *due - now;
    const struct timespec t = {(time_t)(rest / 1000), (long)(rest % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void print_reading(const struct top *t, bool first)
{
    if (opt.csv) {
        if (first)
            top_csv_heading(stdout);
        top_csv(t, stdout);
    } else if (opt.json) {
        top_json(t, stdout);
    } else {
        if (!first)
            putchar('\n');
        print_table(t);
    }
}

// What ends a program with a reading half written leaves half a line, so each is one write.
static char written[1 << 20];

// Readings one after the other, for files and pipes.
static int run_plain(struct top *t)
{
    bool repeats = opt.csv || opt.interval_given || opt.count;
    unsigned left = opt.once || !repeats ? 1 : opt.count;
    uint64_t due = launcher_now_ms();
    setvbuf(stdout, written, _IOFBF, sizeof written);
    // A reader that goes ends a recording, also where the parent ignores this, as services have it.
    signal(SIGPIPE, SIG_DFL);
    // Rates need two readings.
    if (opt.once && opt.interval_given) {
        if (!read_now(t))
            return launcher_fail(EXIT_OURS, "top: /proc: %s", strerror(errno));
        sleep_interval(&due);
    }
    for (bool first = true;; first = false) {
        if (!read_now(t))
            return launcher_fail(EXIT_OURS, "top: /proc: %s", strerror(errno));
        print_reading(t, first);
        if (fflush(stdout) != 0)
            return launcher_fail(EXIT_OURS, "top: %s", strerror(errno));
        if (left && !--left)
            return 0;
        sleep_interval(&due);
    }
}

// A screen as one text, so that it does not flicker.
struct frame {
    char *text;
    size_t used, size;
};

static void add(struct frame *f, const char *s)
{
    size_t length = strlen(s);
    if (f->used + length < f->size) {
        memcpy(f->text + f->used, s, length + 1);
        f->used += length;
    }
}

// Where each begins, and nothing left behind it.
static void add_line(struct frame *f, unsigned row, const char *s)
{
    char position[24];
    snprintf(position, sizeof position, "\033[%u;1H", row);
    add(f, position);
    add(f, s);
    add(f, "\033[K");
}

static void keys_line(char *out, size_t size, const struct top *t, size_t first, unsigned shown,
                      unsigned columns)
{
    char line[256] = "any key goes back, q ends";
    if (!opt.help)
        snprintf(line, sizeof line,
                 "%.1f s, by %s%s; %zu-%zu of %zu; q ends, ? help, < > i sort, + - time",
                 opt.interval_ms / 1000.0, top_columns[opt.sort].name,
                 opt.turned ? " reversed" : "", t->count ? first + 1 : 0, first + shown, t->count);
    snprintf(out, size, "%.*s", (int)columns, line);
}

// What stands in the lines without a row: the help, or why there is no row.
static const char *instead(const struct top *t, unsigned i, unsigned columns, char *out,
                           size_t size)
{
    const char *text = opt.help ? top_help(i) : !t->count && !i ? top_nothing(&opt.filter) : NULL;
    snprintf(out, size, "%.*s", (int)columns, text ? text : "");
    return out;
}

static void draw(const struct top *t, size_t *first)
{
    static char text[(size_t)LINE_BYTES * FRAME_ROWS_MAX];
    struct frame f = {.text = text, .size = sizeof text};
    char line[LINE_BYTES];
    unsigned columns, rows;
    bool colours = out_may_colour();
    term_size(&columns, &rows);
    rows = rows < FRAME_ROWS_MAX ? rows : FRAME_ROWS_MAX;
    // Summary, heading, and the line of keys; a screen of three lines shows no process.
    unsigned room = rows > 3 ? rows - 3 : 0;
    if (*first + room > t->count)
        *first = t->count > room ? t->count - room : 0;
    unsigned shown = t->count - *first < room ? (unsigned)(t->count - *first) : room;
    add_line(&f, 1, top_summary(t, line, sizeof line, columns));
    if (rows > 1)
        add_line(&f, 2, top_heading(opt.sort, colours, line, sizeof line, columns));
    if (opt.help)
        shown = 0;
    for (unsigned i = 0; i < shown; i++)
        add_line(&f, 3 + i, top_line(&t->row[*first + i], colours, line, sizeof line, columns));
    for (unsigned i = shown; i < room; i++)
        add_line(&f, 3 + i, instead(t, i, columns, line, sizeof line));
    if (rows > 2) {
        keys_line(line, sizeof line, t, *first, shown, columns);
        add_line(&f, rows, line);
    }
    term_write(f.text, f.used);
}

static void scroll(int key, size_t *first, const struct top *t)
{
    unsigned columns, rows;
    term_size(&columns, &rows);
    size_t page = rows > 4 ? rows - 4 : 1;
    size_t back = key == TERM_PAGE_UP ? page : 1, on = key == TERM_PAGE_DOWN ? page : 1;
    if (key == TERM_HOME)
        *first = 0;
    else if (key == TERM_END)
        *first = t->count;
    else if (key == TERM_UP || key == TERM_PAGE_UP)
        *first -= *first < back ? *first : back;
    else
        *first += on;
}

static void change_time(bool longer)
{
    unsigned ms = longer ? opt.interval_ms * 2 : opt.interval_ms / 2;
    opt.interval_ms = ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms;
}

static void sort_by_key(int key)
{
    for (unsigned i = 0; i < TOP_COLUMNS; i++)
        if (key == top_columns[i].key)
            opt.sort = (enum top_sort)i;
    if (key == '>' || key == TERM_RIGHT)
        opt.sort = (opt.sort + 1) % TOP_COLUMNS;
    else if (key == '<' || key == TERM_LEFT)
        opt.sort = (opt.sort + TOP_COLUMNS - 1) % TOP_COLUMNS;
    else if (key == 'i')
        opt.turned = !opt.turned;
}

// False when that is the end.
static bool obey(int key, struct top *t, size_t *first, uint64_t *next)
{
    if (key == TERM_CLOSED || key == 'q' || key == 'Q')
        return false;
    if (key == TERM_NOTHING)
        return true;
    // Any key ends the help.
    bool was_shown = opt.help;
    opt.help = !was_shown && (key == '?' || key == 'h');
    if (was_shown || opt.help)
        return true;
    if (key >= TERM_UP && key <= TERM_END)
        scroll(key, first, t);
    else if (key == ' ' || key == '\n')
        *next = launcher_now_ms();
    else if (key == '+' || key == '-')
        change_time(key == '+');
    else
        sort_by_key(key);
    top_sort(t, opt.sort, opt.turned);
    return true;
}

static int run_screen(struct top *t)
{
    size_t first = 0;
    uint64_t next = 0;
    if (!read_now(t))
        return launcher_fail(EXIT_OURS, "top: /proc: %s", strerror(errno));
    term_open();
    next = launcher_now_ms() + opt.interval_ms;
    for (bool go = true; go;) {
        draw(t, &first);
        uint64_t now = launcher_now_ms();
        int key = term_wait(next > now ? (unsigned)(next - now) : 0);
        go = obey(key, t, &first, &next);
        // Also where /proc was not to be had this time: what is shown stays, and the next try
        // waits.
        if (go && launcher_now_ms() >= next) {
            read_now(t);
            next = launcher_now_ms() + opt.interval_ms;
        }
    }
    term_close();
    // As if the signal had done it, for the parent that waits for us.
    int sig = term_signal();
    if (sig) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    return 0;
}

int launcher_top(char **args)
{
    struct top t = {.count = 0};
    int status = take_options(args);
    if (status)
        return status < 0 ? 0 : status;
    bool screen = !opt.once && !opt.json && !opt.csv && !opt.count && term_usable();
    status = screen ? run_screen(&t) : run_plain(&t);
    top_free(&t);
    return status;
}
