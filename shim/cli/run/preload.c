// preload - finds the library, names it in LD_PRELOAD, and makes sure that it loads.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/cli/common/cli.h"

#define LIBRARY "libtidepool.so"
#define SEPARATORS " :" // ld.so splits LD_PRELOAD at both

extern char **environ;

enum { PROBE_NOT_STARTED = -2, PROBE_NOT_LOADED = 3, PROBE_OTHER_MALLOC = 4 };

bool launcher_self(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n > 0) {
        out[n] = '\0';
        return true;
    }
    char resolved[PATH_MAX];
    const char *named = (const char *)getauxval(AT_EXECFN);
    return named && realpath(named, resolved) && snprintf(out, size, "%s", resolved) < (int)size;
}

bool launcher_library(char *out, size_t size)
{
    char self[PATH_MAX], candidate[PATH_MAX * 2];
    static const char *const beside[] = {"", "/../lib", ("/../lib/" TIDEPOOL_MULTIARCH),
                                         "/../lib64"};
    char *slash = launcher_self(self, sizeof self) ? strrchr(self, '/') : NULL;
    if (slash)
        *slash = '\0';
    for (unsigned i = 0; slash && i < array_len(beside); i++) {
        snprintf(candidate, sizeof candidate, "%s%s/" LIBRARY, self, beside[i]);
        char resolved[PATH_MAX];
        if (realpath(candidate, resolved))
            return snprintf(out, size, "%s", resolved) < (int)size;
    }
    return access(TIDEPOOL_LIBDIR "/" LIBRARY, R_OK) == 0 &&
           snprintf(out, size, "%s", TIDEPOOL_LIBDIR "/" LIBRARY) < (int)size;
}

// An entry of LD_PRELOAD that is a libtidepool.so, this one or another.
static const char *named_already(const char *preload, size_t *length)
{
    while (*preload) {
        preload += strspn(preload, SEPARATORS);
        *length = strcspn(preload, SEPARATORS);
        const size_t own = sizeof LIBRARY - 1;
        if (*length >= own && memcmp(preload + *length - own, LIBRARY, own) == 0 &&
            (*length == own || preload[*length - own - 1] == '/'))
            return preload;
        preload += *length;
    }
    return NULL;
}

// An auditing loader (LD_AUDIT, latrace) sets the first thread's TLS up before it loads a preload,
// and has 1872 bytes to spare for what comes then; jemalloc's alone are 2632. This tunable makes it
// more, in each of the command's threads, and is left as it is where the user has set it.
static void make_room_for_tls(void)
{
    static const char name[] = "glibc.rtld.optional_static_tls", wanted[] = "4096";
    const char *audit = getenv("LD_AUDIT"), *old = getenv("GLIBC_TUNABLES");
    char *joined;

    if (!audit || !*audit || (old && strstr(old, name)))
        return;
    if (asprintf(&joined, "%s%s%s=%s", old ? old : "", old && *old ? ":" : "", name, wanted) < 0)
        return;
    setenv("GLIBC_TUNABLES", joined, 1);
    free(joined);
}

int launcher_preload(void)
{
    char path[PATH_MAX];
    if (!launcher_library(path, sizeof path))
        return launcher_fail(EXIT_OURS, LIBRARY " is neither beside this program nor in %s",
                             TIDEPOOL_LIBDIR);
    if (strpbrk(path, SEPARATORS))
        return launcher_fail(EXIT_OURS,
                             "\"%s\": LD_PRELOAD cannot name a path with a blank or a "
                             "colon; move the library",
                             path);
    make_room_for_tls();
    const char *old = getenv("LD_PRELOAD");
    size_t length = 0;
    const char *named = old ? named_already(old, &length) : NULL;
    if (named && (length != strlen(path) || memcmp(named, path, length) != 0))
        launcher_note("LD_PRELOAD names %.*s already; using that one", (int)length, named);
    if (named)
        return 0;
    // Behind what is there: it was put there first, and often wants to be asked first.
    char *joined;
    if (asprintf(&joined, "%s%s%s", old ? old : "", old && *old ? ":" : "", path) < 0 ||
        setenv("LD_PRELOAD", joined, 1) < 0)
        return launcher_fail(EXIT_OURS, "%s", strerror(errno));
    free(joined);
    return 0;
}

int launcher_probe(void)
{
    void *ours = dlsym(RTLD_DEFAULT, "tidepool_version");
    void *theirs = dlsym(RTLD_DEFAULT, "malloc");
    Dl_info version, allocator;
    if (!ours || !dladdr(ours, &version))
        return PROBE_NOT_LOADED;
    if (theirs && dladdr(theirs, &allocator) && allocator.dli_fbase == version.dli_fbase)
        return 0;
    puts(theirs ? allocator.dli_fname : "nowhere");
    return PROBE_OTHER_MALLOC;
}

// The present environment without our settings: the probe is about loading alone, and what the
// settings make the library say belongs to the command.
static char **probe_environment(void)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **env = calloc(count + 1, sizeof *env);
    for (size_t i = 0, n = 0; env && i < count; i++)
        if (strncmp(environ[i], "TIDEPOOL_", 9) != 0)
            env[n++] = environ[i];
    return env;
}

// Starts the probe with both its outputs on `to`; 0 or an errno.
static int start_probe(pid_t *pid, int to)
{
    char self[PATH_MAX], name[] = "tidepool", option[] = "--probe";
    char *const args[] = {name, option, NULL};
    if (!launcher_self(self, sizeof self))
        return ENOENT;
    char **env = probe_environment();
    if (!env)
        return ENOMEM;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, to, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, to, STDERR_FILENO);
    int err = posix_spawn(pid, self, &files, NULL, args, env);
    posix_spawn_file_actions_destroy(&files);
    free(env);
    return err;
}

// Its exit status, or -1 where a signal ended it.
static int wait_for_probe(pid_t pid)
{
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Runs the probe. Its exit status, -1 where a signal ended it, or PROBE_NOT_STARTED; then
// errno says why. What it and the loader print comes back in `said`.
static int run_probe(char *said, size_t size)
{
    int ends[2];
    pid_t pid;
    said[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) < 0)
        return PROBE_NOT_STARTED;
    // A parent that ignores its children's ends makes us ignore them, and nothing is waited for.
    void (*usual)(int) = signal(SIGCHLD, SIG_DFL);
    int err = start_probe(&pid, ends[1]);
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; used < size - 1 && (n = read(ends[0], said + used, size - 1 - used)) > 0;)
        used += (size_t)n;
    said[used] = '\0';
    close(ends[0]);
    int status = err ? PROBE_NOT_STARTED : wait_for_probe(pid);
    signal(SIGCHLD, usual); // the command's
    errno = err;
    return status;
}

// The line that names the library, else the last one.
static const char *telling_line(char *said)
{
    char *last = said, *state = NULL;
    for (char *line = strtok_r(said, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        if (strstr(line, LIBRARY))
            return line;
        last = line;
    }
    return last;
}

int launcher_verify(void)
{
    char said[4096];
    int status = run_probe(said, sizeof said);
    if (status == 0)
        return 0;
    // What may start no process may still become another program.
    if (status == PROBE_NOT_STARTED) {
        launcher_note("the library was not tried first: %s", strerror(errno));
        return 0;
    }
    const char *line = telling_line(said), *colon = *line ? ": " : "";
    if (status == PROBE_OTHER_MALLOC)
        return launcher_fail(EXIT_OURS, "malloc comes from %s, which is loaded before tidepool",
                             line);
    if (status == PROBE_NOT_LOADED)
        return launcher_fail(EXIT_OURS, "the library did not load%s%s", colon, line);
    return launcher_fail(EXIT_OURS, "a program does not start with the library%s%s", colon, line);
}
