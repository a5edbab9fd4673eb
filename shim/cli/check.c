// check - `tidepool check`: each thing the library would use on this machine, tried.

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pressure/policy/policy.h"
#include "pressure/usage/cgroup.h"
#include "pressure/usage/proc.h"
#include "shim/base.h"
#include "shim/cli/common/cli.h"

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

// The pools' region grows to a quarter of either limit, or to what its numbers of blocks reach.
static enum verdict check_region(void)
{
    const uint64_t most = UINT64_C(256) << 30, least = UINT64_C(64) << 20;
    static const int counts_mappings[] = {RLIMIT_AS, RLIMIT_DATA};
    uint64_t bytes = most;

    for (unsigned i = 0; i < array_len(counts_mappings); i++) {
        struct rlimit limit;
        if (getrlimit(counts_mappings[i], &limit) == 0 && limit.rlim_cur / 4 < bytes)
            bytes = limit.rlim_cur / 4;
    }
    if (bytes < least)
        return say(NO, "region", "no pools: ulimit -v or -d is below %" PRIu64 "M", least >> 18);
    if (bytes == most)
        return say(OK, "region", "pools of up to %" PRIu64 "G", most >> 30);
    return say(OK, "region", "pools of up to %" PRIu64 "M (a quarter of ulimit -v or -d)",
               bytes >> 20);
}

// Read as the watchdog reads it.
static struct cgroup_source cgroup;

static enum verdict check_cgroup(void)
{
    struct cgroup_reading now;
    struct proc_ram ram;
    cgroup_init(&cgroup, "");
    int err = cgroup_read(&cgroup, true, 0, &now);
    if (err)
        return say(OFF, "cgroup", "%s: %s", strerror(-err),
                   proc_read_ram("", &ram) == 0 ? "the machine's memory is the limit"
                                                : "no limit found");
    const char *version = cgroup.at.v2 ? "v2" : "v1", *dir = cgroup.at.memory.path;
    if (!now.found)
        return say(OFF, "cgroup", "%s sets no limit (%s)", version, dir);
    return say(OK, "cgroup", "%s limit %" PRIu64 "M by %s, %" PRIu64 "M in use (%.*s)", version,
               now.limit_bytes >> 20, pressure_limit_name(now.kind), now.used_bytes >> 20,
               (int)cgroup.binding_len, dir);
}

// It counts beside the cgroup's.
static enum verdict check_limit(void)
{
    const char *limit = getenv("TIDEPOOL_LIMIT");
    if (!limit || strcmp(limit, "auto") == 0)
        return OK;
    return say(OK, "limit", "%s by setting (TIDEPOOL_LIMIT), if that is less", limit);
}

static int try_trigger(const char *path)
{
    static const char trigger[] = "some 150000 2000000"; // a window that needs no privilege
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int err = write(fd, trigger, sizeof trigger) < 0 ? errno : 0;
    close(fd);
    return err;
}

// As the watchdog: on the pressure of our cgroup where that is to be had, else on the machine's.
static enum verdict check_psi(void)
{
    static const char machine[] = "/proc/pressure/memory";
    char saved[64];
    struct cgroup_dir *own = &cgroup.at.unified;
    if (own->len) {
        const char *path = cgroup_file_at(own, own->len, "memory.pressure", saved);
        if (try_trigger(path) == 0)
            return say(OK, "psi", "%s takes triggers", path);
    }
    int err = try_trigger(machine);
    if (err)
        return say(OFF, "psi", "%s: %s", machine, strerror(err));
    return say(OK, "psi", "%s takes triggers", machine);
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

const char launcher_check_usage[] =
    "Usage: tidepool check [settings]\n"
    "What the library would use on this machine, tried: a line each, and in its second column\n\n"
    "      ok                it works\n"
    "      off               the library does without it, or it was not asked for\n"
    "      no                something is missing that was promised or asked for\n\n"
    "Ends with 1 if there is a no, else with 0. Settings are given as for a program:\n"
    "tidepool check --prom-dir=/tmp/metrics\n";

int launcher_check(void)
{
    static enum verdict (*const checks[])(void) = {check_library, check_membarrier, check_region,
                                                   check_cgroup,  check_limit,      check_psi,
                                                   check_thp,     check_prom_dir};
    int status = 0;
    for (unsigned i = 0; i < array_len(checks); i++)
        status |= checks[i]() == NO;
    return status;
}
