// lines - a child with its questions in a memory file and its answers in a pipe.

#include "shim/cli/symbols/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/cli/profile/intern.h"

enum { LIMIT_S = 120, ANSWER_MAX = 1 << 30 };

// "FILE:LINE", of which addr2line knows "??:0", "FILE:?" and a discriminator in parentheses.
static void read_place(char *text, struct lines_frame *f)
{
    char *colon = strrchr(text, ':');
    f->file = NULL;
    f->line = 0;
    if (!colon || colon == text || text[0] == '?')
        return;
    f->line = (unsigned)strtoul(colon + 1, NULL, 10);
    *colon = '\0';
    f->file = text;
}

static char *take_line(char **text)
{
    char *line = *text, *newline = strchr(line, '\n');
    if (!newline)
        return NULL;
    *newline = '\0';
    *text = newline + 1;
    return line;
}

static bool is_address(const char *text, uint64_t *address)
{
    char *end;
    if (strncmp(text, "0x", 2) != 0)
        return false;
    *address = strtoull(text, &end, 16);
    return !*end;
}

bool lines_parse(char *text, const uint64_t *addresses, size_t count, lines_fn *fn, void *arg)
{
    struct lines_frame frames[LINES_DEPTH_MAX];
    uint64_t address;
    char *line = take_line(&text);
    for (size_t i = 0; i < count; i++) {
        size_t depth = 0;
        // Answers come in the order of the questions; any other order would be told as names of
        // functions that are not there.
        if (!line || !is_address(line, &address) || address != addresses[i])
            return false;
        while ((line = take_line(&text)) && !is_address(line, &address)) {
            char *place = take_line(&text);
            // llvm-symbolizer ends an answer with an empty line.
            if (!*line && place && is_address(place, &address)) {
                line = place;
                break;
            }
            if (!place || depth == LINES_DEPTH_MAX)
                continue;
            frames[depth].function = *line && *line != '?' ? line : NULL;
            read_place(place, &frames[depth++]);
        }
        if (depth)
            fn(arg, i, frames, depth);
    }
    return true;
}

static int questions(const uint64_t *addresses, size_t count)
{
    int fd = memfd_create("addresses", MFD_CLOEXEC);
    FILE *out = fd < 0 ? NULL : fdopen(dup(fd), "w");
    for (size_t i = 0; out && i < count; i++)
        fprintf(out, "0x%" PRIx64 "\n", addresses[i]);
    if (!out || fclose(out) != 0 || lseek(fd, 0, SEEK_SET) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static time_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

// All that comes, NUL-terminated; NULL where it takes too long or is too much.
static char *read_answers(int fd)
{
    size_t room = 0, used = 0;
    char *text = room_for(NULL, &room, 1, 1);
    for (time_t end = seconds_now() + LIMIT_S, left; (left = end - seconds_now()) > 0;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, (int)left * 1000) <= 0)
            continue;
        text = room_for(text, &room, used + 65536, 1);
        ssize_t n = read(fd, text + used, room - used - 1);
        if (n == 0) {
            text[used] = '\0';
            // A NUL inside would hide what follows it.
            for (size_t i = 0; i < used; i++)
                if (!text[i])
                    text[i] = '?';
            return text;
        }
        if (n > 0)
            used += (size_t)n;
        if (used > ANSWER_MAX)
            break;
    }
    free(text);
    return NULL;
}

static int start(const char *const *args, int in, int out, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int err = posix_spawnp(pid, args[0], &files, NULL, (char **)(uintptr_t)args, environ);
    posix_spawn_file_actions_destroy(&files);
    return err;
}

// The answers of one tool; NULL with errno ENOENT where the tool is missing.
static char *run(const char *const *args, const uint64_t *addresses, size_t count)
{
    int ends[2], in = questions(addresses, count);
    pid_t pid;
    if (in < 0)
        return NULL;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        close(in);
        return NULL;
    }
    int err = start(args, in, ends[1], &pid);
    close(in);
    close(ends[1]);
    char *text = err ? NULL : read_answers(ends[0]);
    close(ends[0]);
    if (!err) {
        if (!text)
            kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        err = EIO;
    }
    errno = err;
    return text;
}

enum lines_result lines_ask(const char *file, const uint64_t *addresses, size_t count, lines_fn *fn,
                            void *arg)
{
    const char *const addr2line[] = {"addr2line", "-a", "-f", "-i", "-C", "-e", file, NULL};
    const char *const llvm[] = {"llvm-symbolizer",
                                "--addresses",
                                "--functions=linkage",
                                "--output-style=GNU",
                                "--demangle",
                                "--obj",
                                file,
                                NULL};
    // Of 20 000 addresses in node one takes 0.1 s, the other 13 s.
    const char *const *const tools[] = {llvm, addr2line};
    enum lines_result result = LINES_NO_TOOL;
    for (size_t i = 0; i < array_len(tools); i++) {
        char *text = run(tools[i], addresses, count);
        if (!text && errno == ENOENT)
            continue;
        bool ok = text && lines_parse(text, addresses, count, fn, arg);
        free(text);
        if (ok)
            return LINES_OK;
        result = LINES_FAILED;
    }
    return result;
}
