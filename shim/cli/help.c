// help - the settings' table as the launcher's help.

#include <stdio.h>
#include <string.h>

#include "shim/cli/common/cli.h"
#include "shim/config/config.h"

void launcher_option_name(const char *variable, char *out, size_t size)
{
    static const char prefix[] = "TIDEPOOL_";
    size_t n = (size_t)snprintf(out, size, "--%s", variable + sizeof prefix - 1);
    for (size_t i = 0; i < n && i < size; i++)
        out[i] = out[i] == '_'                    ? '-'
                 : out[i] >= 'A' && out[i] <= 'Z' ? (char)(out[i] + 32)
                                                  : out[i];
}

static const char usage[] =
    "Usage: tidepool [options] [--] command [args]\n"
    "Runs a program with libtidepool.so preloaded: pools for blocks of 1K to 1M, and\n"
    "memory given back before its limit is hit.\n\n";

static const char actions[] =
    "      check          say what of the library works on this machine\n"
    "      top            what all processes under tidepool hold, refreshing\n"
    "      dump PID       have a sampled process write its heap profile\n"
    "      report FILE    show what held the memory, by a heap profile: tidepool(1)\n"
    "      help top       say more of one of these, which win over a command's name\n"
    "      -q, -V, --path no remarks; print the version, or the library's path\n"
    "      --help-all     list all options; each is also a variable: tidepool(7)\n";

// One line an option: the few that most people need fit a screen of 24 lines.
static void show_common(void)
{
    struct config_option o;
    for (unsigned i = 0; config_option_at(i, &o); i++) {
        if (!o.common)
            continue;
        char name[64];
        launcher_option_name(o.name, name, sizeof name);
        int width = (int)strlen(name);
        printf("      %s%-*s %s", name, width < 14 ? 14 - width : 0, o.flag ? "" : "=", o.help);
        // The list of ranges does not fit the line; the other defaults do.
        if (!o.fallback || strlen(o.fallback) < 12)
            printf(" [%s]", o.fallback ? o.fallback : "none");
        putchar('\n');
    }
}

static void show_all(void)
{
    struct config_option o;
    const char *group = "";
    for (unsigned i = 0; config_option_at(i, &o); i++) {
        if (strcmp(group, o.group) != 0)
            printf("%s%s\n", *group ? "\n" : "", o.group);
        group = o.group;
        char name[64];
        launcher_option_name(o.name, name, sizeof name);
        printf("  %s%s  %s\n", name, o.flag ? "[=VALUE]" : "=VALUE", o.name);
        if (o.old) {
            launcher_option_name(o.old, name, sizeof name);
            printf("      formerly: %s=VALUE  %s\n", name, o.old);
        }
        printf("      %s\n", o.help);
        printf("      VALUE: %s\n", o.form);
        printf("      default: %s%s%s\n", o.fallback ? o.fallback : "none",
               o.flag ? "; the option alone: " : "", o.flag ? o.flag : "");
    }
}

void launcher_help(bool all)
{
    fputs(usage, stdout);
    if (all)
        show_all();
    else
        show_common();
    fputs(actions, stdout);
}
