// procs - see procs.h.

#include "shim/cli/process/procs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "export/control.h"
#include "shim/base.h"

enum { LOOK_AGAIN = 10 }; // scans

// The head of a small file; its length, -1 where it cannot be read.
static ssize_t read_head(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    if (n >= 0)
        out[n] = '\0';
    return n;
}

// Name and start time. The name may hold anything, parentheses and newlines included.
static bool read_stat(pid_t pid, char *comm, size_t size, uint64_t *start)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_head(path, text, sizeof text) <= 0)
        return false;
    char *open_paren = strchr(text, '('), *at = strrchr(text, ')');
    if (!open_paren || !at)
        return false;
    *at = '\0';
    snprintf(comm, size, "%s", open_paren + 1);
    // Behind the name comes the third field, and the start is the 22nd.
    at++;
    for (int field = 3; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return false;
    *start = strtoull(at, NULL, 10);
    return true;
}

// Does a file of ours appear among its mappings? -1 where we may not see them.
static int maps_library(pid_t pid)
{
    static const char name[] = "/libtidepool.so";
    // Read in pieces; what could be the beginning of the name is kept for the next one.
    static char text[65536];
    char path[40];
    size_t kept = 0;
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    for (ssize_t n; !found && (n = read(fd, text + kept, sizeof text - kept)) > 0;) {
        size_t have = kept + (size_t)n;
        found = memmem(text, have, name, sizeof name - 1) != NULL;
        kept = have < sizeof name ? have : sizeof name;
        memmove(text, text + have - kept, kept);
    }
    close(fd);
    return found;
}

// Pids of this pid namespace that have a channel, whosever they are.
struct channels {
    pid_t *pid;
    size_t count;
};

static void add_channel(struct channels *c, pid_t pid)
{
    pid_t *larger = realloc(c->pid, (c->count + 1) * sizeof *larger);
    if (!larger)
        return;
    c->pid = larger;
    c->pid[c->count++] = pid;
}

static struct channels read_channels(void)
{
    struct channels c = {NULL, 0};
    struct stat ns;
    char line[512], start[80];
    FILE *f = fopen("/proc/net/unix", "re");
    if (stat("/proc/self/ns/pid", &ns) != 0)
        ns.st_ino = 0;
    snprintf(start, sizeof start, "@" CONTROL_PREFIX "%ju/", (uintmax_t)ns.st_ino);
    while (f && fgets(line, sizeof line, f)) {
        const char *name = strrchr(line, '@');
        if (name && strncmp(name, start, strlen(start)) == 0)
            add_channel(&c, (pid_t)strtol(name + strlen(start), NULL, 10));
    }
    if (f)
        fclose(f);
    return c;
}

static bool has_channel(const struct channels *c, pid_t pid)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->pid[i] == pid)
            return true;
    return false;
}

static int by_pid(const void *a, const void *b)
{
    pid_t x = ((const struct proc *)a)->pid, y = ((const struct proc *)b)->pid;
    return (x > y) - (x < y);
}

static struct proc *add(struct procs *p)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 256;
        struct proc *larger = realloc(p->list, room * sizeof *larger);
        if (!larger)
            return NULL;
        p->list = larger;
        p->room = room;
    }
    struct proc *fresh = &p->list[p->count++];
    *fresh = (struct proc){.pid = 0};
    return fresh;
}

// `known` of the entries are sorted; those added in this scan follow.
static void look_at(struct procs *p, size_t known, pid_t pid, const struct channels *channels)
{
    struct proc now = {.pid = pid, .seen = true};
    if (!read_stat(pid, now.comm, sizeof now.comm, &now.start))
        return;
    struct proc *old = known ? bsearch(&now, p->list, known, sizeof now, by_pid) : NULL;
    // Another program under the same pid mostly has another name, too.
    bool same = old && old->start == now.start && strcmp(old->comm, now.comm) == 0;
    if (same && old->age < LOOK_AGAIN) {
        old->age++;
        old->seen = true;
        return;
    }
    int has = maps_library(pid);
    now.has_library = has < 0 ? has_channel(channels, pid) : has;
    // So that not all of them are due in the same scan.
    now.age = (unsigned)pid % LOOK_AGAIN;
    if (!old)
        old = add(p);
    if (old)
        *old = now;
}

static void forget_the_dead(struct procs *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].seen)
            p->list[kept++] = p->list[i];
    p->count = kept;
}

bool procs_scan(struct procs *p)
{
    DIR *d = opendir("/proc");
    if (!d)
        return false;
    struct channels channels = read_channels();
    size_t known = p->count;
    pid_t own = getpid();
    for (size_t i = 0; i < known; i++)
        p->list[i].seen = false;
    for (struct dirent *e; (e = readdir(d));) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (pid > 0 && !*end && pid != own)
            look_at(p, known, (pid_t)pid, &channels);
    }
    closedir(d);
    free(channels.pid);
    forget_the_dead(p);
    if (p->count)
        qsort(p->list, p->count, sizeof *p->list, by_pid);
    return true;
}

bool procs_is_young(pid_t pid, unsigned seconds)
{
    char comm[32];
    uint64_t start;
    struct timespec now;
    const uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    clock_gettime(CLOCK_BOOTTIME, &now);
    return read_stat(pid, comm, sizeof comm, &start) &&
           (uint64_t)now.tv_sec < start / ticks + seconds;
}

bool procs_alive(const struct proc *proc)
{
    char comm[32];
    uint64_t start;
    return read_stat(proc->pid, comm, sizeof comm, &start) && start == proc->start;
}

void procs_free(struct procs *p)
{
    free(p->list);
    *p = (struct procs){0};
}
