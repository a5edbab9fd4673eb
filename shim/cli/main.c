// main - reads the command line; each option is a row of the settings' table.

#include "shim/cli/common/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/cli/common/out.h"
#include "shim/cli/dump.h"
#include "shim/cli/report/report.h"
#include "shim/cli/top/top.h"
#include "shim/config/config.h"
#include "shim/config/parse.h"
#include "shim/config/table.h"

enum { OPTION_MAX = 64 };

static bool quiet;

void launcher_note(const char *fmt, ...)
{
    va_list args;
    if (quiet)
        return;
    va_start(args, fmt);
    fputs("tidepool: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

int launcher_fail(int status, const char *fmt, ...)
{
    char *line;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&line, fmt, args) < 0)
        line = NULL;
    va_end(args);
    // File names and what processes answer may contain anything.
    fputs("tidepool: ", stderr);
    out_plain(stderr, line ? line : "out of memory", SIZE_MAX);
    fputc('\n', stderr);
    free(line);
    return status;
}

uint64_t launcher_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int show_path(void)
{
    char path[PATH_MAX];
    if (!launcher_library(path, sizeof path))
        return launcher_fail(EXIT_OURS, "libtidepool.so is neither beside this program nor in %s",
                             TIDEPOOL_LIBDIR);
    puts(path);
    return 0;
}

static int show_version(void)
{
    puts("tidepool " TIDEPOOL_VERSION);
    return 0;
}

static int show_help(void)
{
    launcher_help(false);
    return 0;
}

static int show_help_all(void)
{
    launcher_help(true);
    return 0;
}

// What is done instead of running a command; settings may stand before it and behind it.
static const struct action {
    const char *name, *word;
    int (*run)(void);
    const char *usage; // NULL: the help on all has it
} actions[] = {
    {"--help", "-h", show_help, NULL},
    {"--help-all", "--help-all", show_help_all, NULL},
    {"--path", "--path", show_path, NULL},
    {"--version", "-V", show_version, NULL},
    {"--check", "check", launcher_check, launcher_check_usage},
    {"--probe", "--probe", launcher_probe, NULL},
};

// tidepool help check, tidepool check --help
static int show_help_on(const struct action *action)
{
    if (!action || !action->usage)
        return show_help();
    fputs(action->usage, stdout);
    return 0;
}

// What takes all that follows it on the line.
static int launcher_help_on(char **args);
static const struct subcommand {
    const char *name;
    int (*run)(char **args);
} subcommands[] = {
    {"dump", launcher_dump},
    {"help", launcher_help_on},
    {"report", launcher_report},
    {"top", launcher_top},
};

static const struct subcommand *find_subcommand(const char *name)
{
    for (unsigned i = 0; i < array_len(subcommands); i++)
        if (strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
    return NULL;
}

// The subcommand that was meant by a word; NULL where it is too far from each.
static const char *subcommand_meant(const char *word)
{
    const char *best = NULL;
    unsigned least = UINT_MAX;
    for (unsigned i = 0; i < array_len(subcommands) + array_len(actions); i++) {
        bool is_action = i >= array_len(subcommands);
        const char *name =
            is_action ? actions[i - array_len(subcommands)].word : subcommands[i].name;
        if (name[0] == '-')
            continue;
        // Of three or four letters, two slips leave too few.
        unsigned most = strlen(name) < 5 ? 1 : 2;
        unsigned distance = edit_distance(word, strlen(word), name, strlen(name));
        if (distance < least && distance <= most) {
            least = distance;
            best = name;
        }
    }
    return best;
}

static const struct action *find_action(const char *name)
{
    for (unsigned i = 0; i < array_len(actions); i++)
        if (strcmp(actions[i].name, name) == 0 || strcmp(actions[i].word, name) == 0)
            return &actions[i];
    return NULL;
}

// tidepool help, tidepool help report
static int launcher_help_on(char **args)
{
    static char flag[] = "--help";
    const struct subcommand *sub = args[0] ? find_subcommand(args[0]) : NULL;
    const struct action *action = args[0] ? find_action(args[0]) : NULL;
    if (!args[0] || action || (sub && sub->run == launcher_help_on))
        return show_help_on(action);
    if (!sub || args[1])
        return launcher_fail(EXIT_OURS, "help: %s: no such subcommand", sub ? args[1] : args[0]);
    return sub->run((char *[]){flag, NULL});
}

static const char variable_prefix[] = "TIDEPOOL_";

// --pool-max is TIDEPOOL_POOL_MAX.
static bool variable_of(const char *option, size_t length, char *out, size_t size)
{
    if (length + sizeof variable_prefix > size)
        return false;
    char *at = stpcpy(out, variable_prefix);
    for (size_t i = 0; i < length; i++)
        *at++ = option[i] == '-'                       ? '_'
                : option[i] >= 'a' && option[i] <= 'z' ? option[i] - 32
                                                       : '#';
    *at = '\0';
    return true;
}

static bool find_option(const char *variable, unsigned *row, struct config_option *o)
{
    for (unsigned i = 0; config_option_at(i, o); i++) {
        if (strcmp(o->name, variable) == 0 || (o->old && strcmp(o->old, variable) == 0)) {
            *row = i;
            return true;
        }
    }
    return false;
}

static int unknown_option(const char *name, size_t length)
{
    char variable[OPTION_MAX];
    for (unsigned i = 0; name[length] && i < array_len(actions); i++)
        if (strlen(actions[i].name) == length + 2 && memcmp(actions[i].name + 2, name, length) == 0)
            return launcher_fail(EXIT_OURS, "%s takes no value", actions[i].name);
    const char *meant = variable_of(name, length, variable, sizeof variable)
                            ? config_option_meant(variable + sizeof variable_prefix - 1, length)
                            : NULL;
    if (!meant)
        return launcher_fail(EXIT_OURS, "--%.*s: no such option; --help-all lists them",
                             (int)length, name);
    char option[OPTION_MAX];
    launcher_option_name(meant, option, sizeof option);
    return launcher_fail(EXIT_OURS, "--%.*s: no such option; did you mean %s?", (int)length, name,
                         option);
}

// TIDEPOOL_LIMIT=1G, typed as a word, is --limit=1G. False where it names no setting.
static bool setting_meant(const char *word, char *out, size_t size)
{
    char variable[OPTION_MAX], option[OPTION_MAX];
    struct config_option o;
    unsigned row;
    size_t length = strcspn(word, "=");
    if (!word[length] ||
        snprintf(variable, sizeof variable, "%.*s", (int)length, word) >= OPTION_MAX ||
        !find_option(variable, &row, &o))
        return false;
    launcher_option_name(o.name, option, sizeof option);
    snprintf(out, size, "%s%s", option, word + length);
    return true;
}

// What was meant by a command that is not there. flag: the option that stood before it without a
// value, or NULL. NULL where nothing is likely.
static const char *meant_by(char **command, const char *flag)
{
    static const char *const needless[] = {"run", "exec", "start"};
    static char text[PATH_MAX];
    if (setting_meant(command[0], text, sizeof text))
        return text;
    for (unsigned i = 0; command[1] && i < array_len(needless); i++)
        if (strcmp(command[0], needless[i]) == 0)
            return command[1];
    // An option that may stand alone takes no value from the next word.
    if (flag && *command[0] && strspn(command[0], "0123456789") == strlen(command[0])) {
        snprintf(text, sizeof text, "%s=%s", flag, command[0]);
        return text;
    }
    return strcmp(command[0], "version") == 0 ? "--version" : subcommand_meant(command[0]);
}

static bool typed[CONFIG_ROWS_MAX];

// Takes args[0], and args[1] where it is the value; sets the variable. 0 or an exit code.
static int take_option(char **args, int *used)
{
    if (strncmp(args[0], "--", 2) != 0)
        return launcher_fail(EXIT_OURS, "%s: no such option; --help-all lists them", args[0]);
    const char *name = args[0] + 2;
    size_t length = strcspn(name, "=");
    char variable[OPTION_MAX];
    struct config_option o;
    unsigned row;
    if (!length || !variable_of(name, length, variable, sizeof variable) ||
        !find_option(variable, &row, &o))
        return unknown_option(name, length);
    const char *value = o.flag;
    *used = 1;
    if (name[length]) {
        value = name + length + 1;
    } else if (!o.flag && args[1] && strcmp(args[1], "--") != 0) {
        value = args[1];
        *used = 2;
    }
    if (!value)
        return launcher_fail(EXIT_OURS, "--%s: expected %s", name, o.form);
    // Typed just now, so a slip is refused rather than reported by every process that starts.
    if (!config_option_accepts(row, value))
        return launcher_fail(EXIT_OURS, "--%.*s=%s: expected %s", (int)length, name, value, o.form);
    if ((o.old && unsetenv(o.old) < 0) || setenv(o.name, value, 1) < 0)
        return launcher_fail(EXIT_OURS, "%s", strerror(errno));
    typed[row] = true;
    return 0;
}

// Marks that were typed are refused where they collide; of others the library says so.
static int check_marks(void)
{
    static const char *const relation[] = {"below", "above"};
    struct config_clash clash;
    struct config_option o;
    unsigned row;
    if (!config_marks_clash(&clash, environ))
        return 0;
    for (unsigned i = 0; i < array_len(clash.name); i++) {
        if (!find_option(clash.name[i], &row, &o) || !typed[row])
            continue;
        char name[OPTION_MAX], other[OPTION_MAX];
        launcher_option_name(clash.name[i], name, sizeof name);
        launcher_option_name(clash.name[!i], other, sizeof other);
        return launcher_fail(EXIT_OURS, "%s=%s: expected a percentage %s %s, which is %s", name,
                             clash.value[i], relation[i], other, clash.value[!i]);
    }
    return 0;
}

static int be_quiet(void)
{
    quiet = true;
    if (setenv("TIDEPOOL_VERBOSE", "quiet", 1) < 0)
        return launcher_fail(EXIT_OURS, "%s", strerror(errno));
    return 0;
}

static int run(char **command, const char *meant)
{
    int status = launcher_inspect(command[0], meant);
    if (!status)
        status = launcher_preload();
    if (!status)
        status = launcher_verify();
    if (status)
        return status;
    execvp(command[0], command);
    return launcher_fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT, "%s: %s", command[0],
                         strerror(errno));
}

// What was printed has arrived, or it was in vain.
static int finish(int status)
{
    if (!status && (fflush(stdout) != 0 || ferror(stdout)))
        return launcher_fail(EXIT_OURS, "standard output: %s", strerror(errno));
    return status;
}

static bool is_quiet(const char *arg)
{
    return strcmp(arg, "-q") == 0 || strcmp(arg, "--quiet") == 0;
}

// A subcommand wins over a program of that name, but not where settings were meant for the program.
static int run_subcommand(const struct subcommand *sub, char **first, char **arg)
{
    while (first < arg && is_quiet(*first))
        first++;
    if (first < arg)
        return launcher_fail(EXIT_OURS,
                             "%s is a subcommand, which takes no settings; the program of that "
                             "name: tidepool %s -- %s",
                             sub->name, *first, sub->name);
    return finish(sub->run(arg + 1));
}

int main(int argc, char **argv)
{
    (void)argc;
    const struct action *action = NULL;
    const char *action_name = NULL; // as it was typed
    char **arg = argv + 1;
    const char *flag = NULL; // typed last, without a value
    while (*arg && strcmp(*arg, "--") != 0) {
        const struct action *found = find_action(*arg);
        const struct subcommand *sub = find_subcommand(*arg);
        int used = 1, status = 0;
        if (found && found->run == show_help && action)
            return finish(show_help_on(action));
        if (found) {
            action = found;
            action_name = *arg;
        } else if (sub && !action)
            return run_subcommand(sub, argv + 1, arg);
        else if (is_quiet(*arg))
            status = be_quiet();
        else if (**arg == '-')
            status = take_option(arg, &used);
        else
            break;
        flag = **arg == '-' && used == 1 && !strchr(*arg, '=') && !is_quiet(*arg) ? *arg : NULL;
        if (status)
            return status;
        arg += used;
    }
    int status = check_marks();
    if (status)
        return status;
    bool dashes = *arg && strcmp(*arg, "--") == 0;
    if (action && *arg && !dashes) {
        const char *help_on = action->run == show_help && find_subcommand(*arg) ? *arg : NULL;
        return launcher_fail(EXIT_OURS, "%s takes no command%s%s%s", action_name,
                             help_on ? "; did you mean tidepool help " : "", help_on ? help_on : "",
                             help_on ? "?" : "");
    }
    if (action)
        return finish(action->run());
    if (!*arg || !arg[dashes])
        return launcher_fail(EXIT_OURS, "no command; usage: tidepool [options] command [args]");
    return run(arg + dashes, dashes ? NULL : meant_by(arg, flag));
}
