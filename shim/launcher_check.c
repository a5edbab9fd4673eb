// launcher_check - `tidepool --check`: each thing the library would use on this machine, tried.

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/launcher.h"

// "no" costs the exit code: something that the library's promises rest on, or that was asked for,
// is missing. "off" is a thing it does without.
enum verdict { OK, OFF, NO };

static enum verdict say(enum verdict v, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static enum verdict say(enum verdict v, const char *what, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "off", "no"};
    va_list args;
    va_start(args, fmt);
    printf("%-12s %-4s ", what, words[v]);
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
    return v;
}

static enum verdict check_library(void)
{
    char path[PATH_MAX];
    fflush(stdout); // before any line of the two calls on stderr
    if (launcher_preload() || launcher_verify() || !launcher_library(path, sizeof path))
        return say(NO, "library", "it cannot be preloaded");
    return say(OK, "library", "%s", path);
}

static enum verdict check_membarrier(void)
{
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
        return say(OK, "membarrier", "caches of idle threads can be drained");
    return say(NO, "membarrier", "%s: each thread drains its own cache only", strerror(errno));
}

static enum verdict check_region(void)
{
    // Halved until it fits, as the library does; less than this is not worth pools.
    for (size_t bytes = (size_t)1 << 39; bytes >= (size_t)1 << 26; bytes /= 2) {
        void *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED)
            continue;
        munmap(at, bytes);
        struct rlimit limit;
        bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
        return say(OK, "region", "%zuM of address space can be reserved%s", bytes >> 20,
                   limited ? " (ulimit -v is set)" : "");
    }
    return say(NO, "region", "%s: no address space for pools", strerror(errno));
}

// Registers the trigger that the watchdog would, in the window that needs no privilege.
static enum verdict check_psi(void)
{
    static const char path[] = "/proc/pressure/memory", trigger[] = "some 150000 2000000";
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return say(OFF, "psi", "%s: %s", path, strerror(errno));
    ssize_t n = write(fd, trigger, sizeof trigger);
    int why = errno;
    close(fd);
    if (n < 0)
        return say(OFF, "psi", "%s: trigger refused: %s", path, strerror(why));
    return say(OK, "psi", "%s takes triggers", path);
}

static enum verdict check_thp(void)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    char text[128] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return say(OFF, "thp", "%s: %s", path, strerror(why));
    char *open_bracket = strchr(text, '['), *close_bracket = strchr(text, ']');
    if (!open_bracket || !close_bracket)
        return say(OFF, "thp", "%s does not say", path);
    *close_bracket = '\0';
    return say(OK, "thp", "%s%s", open_bracket + 1,
               strcmp(open_bracket + 1, "always") == 0 ? " (--thp=never saves memory)" : "");
}

static enum verdict check_prom_dir(void)
{
    const char *dir = getenv("TIDEPOOL_PROM_DIR");
    struct stat st;
    if (!dir)
        return say(OFF, "prom dir", "not set (--prom-dir)");
    if (stat(dir, &st) < 0 || access(dir, W_OK | X_OK) < 0)
        return say(NO, "prom dir", "%s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return say(NO, "prom dir", "%s: %s", dir, strerror(ENOTDIR));
    return say(OK, "prom dir", "%s", dir);
}

int launcher_check(void)
{
    static enum verdict (*const checks[])(void) = {check_library, check_membarrier, check_region,
                                                   check_psi,     check_thp,        check_prom_dir};
    int status = 0;
    for (unsigned i = 0; i < array_len(checks); i++)
        status |= checks[i]() == NO;
    return status;
}
