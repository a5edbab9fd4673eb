#include "shim/cli/dump.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim/cli/common/cli.h"
#include "shim/cli/common/out.h"
#include "shim/cli/process/control.h"
#include "shim/cli/process/procs.h"
#include "shim/cli/process/reach.h"

// Its disk may be busy for the reason that the dump was asked for.
#define TIMEOUT_MS 30000
#define YOUNG_S 5

// PATH_MAX, and /proc/PID/root before it.
#define DUMP_PATH_MAX 4200

static const char help[] =
    "Usage: tidepool dump PID\n"
    "Has a process that runs with --sample write its heap profile now, and prints the path.\n";

static int usage(void)
{
    return launcher_fail(EXIT_OURS, "dump: usage: tidepool dump PID");
}

// One absolute path that a shell takes for one word, even where it is not quoted. What a process
// answers is its own choice, and `tidepool report $(tidepool dump PID)` may be run by root.
static bool is_plain_path(const char *path)
{
    static const char special[] = " !\"$&'()*;<>?[\\`{|}";
    char shown[DUMP_PATH_MAX];

    return path[0] == '/' && !strpbrk(path, special) && strlen(path) < sizeof shown &&
           strcmp(out_plain_text(shown, sizeof shown, path), path) == 0;
}

// The user that creates files for the process: the last of its four. -1 where that is unknown.
static long owner_of_files(pid_t pid)
{
    char path[64], line[256];
    long owner = -1;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && owner < 0 && fgets(line, sizeof line, f))
        sscanf(line, "Uid: %*u %*u %*u %ld", &owner);
    if (f)
        fclose(f);
    return owner;
}

// The process names the file as it sees it itself: in a container, by another root. What has that
// name here is another file, perhaps one made to be read by mistake. Sets where it is for us; false
// where no such file of that process's user is there.
static bool find_file(pid_t pid, const char *path, const char **found)
{
    static char by_root[DUMP_PATH_MAX];
    struct stat there, here;
    long owner = owner_of_files(pid);

    snprintf(by_root, sizeof by_root, "/proc/%d/root%s", (int)pid, path);
    bool is_here = lstat(path, &here) == 0, is_there = lstat(by_root, &there) == 0;
    if (is_there && is_here && here.st_dev == there.st_dev && here.st_ino == there.st_ino)
        is_there = false;
    *found = is_there ? by_root : path;
    const struct stat *file = is_there ? &there : &here;
    return (is_there || is_here) && S_ISREG(file->st_mode) && (long)file->st_uid == owner;
}

// A process that has just started is asked again until its watchdog's thread is there, which is
// within two seconds where it allocates at all.
static void wait_for_channel(pid_t pid)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    const uint64_t until = launcher_now_ms() + YOUNG_S * 1000;
    int fd = -1;
    while (launcher_reach(pid, &fd) == CONTROL_CLOSED && procs_is_young(pid, YOUNG_S) &&
           launcher_now_ms() < until)
        nanosleep(&pause, NULL);
    if (fd >= 0)
        close(fd);
}

static int print_path(pid_t pid, char *answer)
{
    const char *found;
    size_t length = strcspn(answer, "\n");

    if (answer[length] && answer[length + 1])
        return launcher_fail(EXIT_OURS, "process %d answers more than a path", (int)pid);
    answer[length] = '\0';
    if (!is_plain_path(answer))
        return launcher_fail(EXIT_OURS, "process %d answers what is no plain absolute path: %s",
                             (int)pid, answer);
    if (!find_file(pid, answer, &found))
        return launcher_fail(EXIT_OURS, "process %d names a file that its user does not own: %s",
                             (int)pid, answer);
    puts(found);
    return 0;
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
        return launcher_fail(EXIT_OURS, "dump: %s: expected the PID of a process", args[0]);
    wait_for_channel((pid_t)pid);
    status = launcher_control_ask((pid_t)pid, "dump", TIMEOUT_MS, &text);
    if (status == 0)
        status = print_path((pid_t)pid, text);
    free(text);
    return status;
}
