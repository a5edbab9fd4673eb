#include "shim/launcher_dump.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/launcher.h"
#include "shim/launcher_control.h"
#include "shim/launcher_out.h"

// Its disk may be busy with what made somebody ask.
#define TIMEOUT_MS 30000

static const char help[] =
    "Usage: tidepool dump PID\n"
    "Has a process that runs with --sample write its heap profile now, and prints the path.\n";

static int usage(void)
{
    return launcher_fail(EXIT_OURS, "dump: usage: tidepool dump PID");
}

// The process names the file as it sees it itself: in a container, by another root, and what has
// that name here is another file, or somebody's who wants it to be read.
static void print_path(pid_t pid, const char *path)
{
    char by_root[8192];
    struct stat here, there;

    snprintf(by_root, sizeof by_root, "/proc/%d/root%s", (int)pid, path);
    bool other =
        stat(by_root, &there) == 0 &&
        (stat(path, &here) != 0 || here.st_dev != there.st_dev || here.st_ino != there.st_ino);
    out_plain(stdout, other ? by_root : path, SIZE_MAX);
    putchar('\n');
}

int launcher_dump(char **args)
{
    char *end, *text = NULL;
    long pid;
    int status;

    if (!args[0] || args[1])
        return usage();
    if (strcmp(args[0], "--help") == 0 || strcmp(args[0], "-h") == 0) {
        fputs(help, stdout);
        return 0;
    }
    errno = 0;
    pid = strtol(args[0], &end, 10);
    if (errno || *end || pid <= 0 || pid != (pid_t)pid)
        return usage();
    status = launcher_control_ask((pid_t)pid, "dump", TIMEOUT_MS, &text);
    if (status == 0) {
        text[strcspn(text, "\n")] = '\0';
        print_path((pid_t)pid, text);
    }
    free(text);
    return status;
}
