#include "export/heap/heap_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pressure/kernel/text.h"
#include "shim/kernel.h"
#include "shim/number.h"

#define PREFIX "tidepool-"
#define TEMPORARY ".tmp"
#define PATH_BYTES 4096

static char temporary[PATH_BYTES + sizeof TEMPORARY];

static long own_user(void)
{
    return syscall(SYS_geteuid);
}

static bool is_own(int dir, const char *name, struct stat *st)
{
    return syscall(SYS_newfstatat, dir, name, st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st->st_mode) && (long)st->st_uid == own_user();
}

int heap_folder_path(char *out, size_t size, const char *dir, unsigned number, const char *suffix)
{
    int n = snprintf(out, size, "%s/" PREFIX "%d-%u%s", dir, getpid(), number, suffix);

    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static const char *temporary_of(const char *path)
{
    snprintf(temporary, sizeof temporary, "%s" TEMPORARY, path);
    return temporary;
}

int heap_folder_create(const char *path)
{
    const char *name = temporary_of(path);

    // What an ended process of this number left there. In a sticky folder another user's stays.
    syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name,
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int heap_folder_publish(const char *path)
{
    struct stat st;
    const char *name = temporary_of(path);

    // Not renameat2(RENAME_NOREPLACE), which some network file systems lack.
    if (syscall(SYS_linkat, AT_FDCWD, name, AT_FDCWD, path, 0) == 0) {
        syscall(SYS_unlinkat, AT_FDCWD, name, 0);
        return 0;
    }
    if (syscall(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        !is_own(AT_FDCWD, path, &st))
        return -EEXIST;
    return syscall(SYS_renameat, AT_FDCWD, name, AT_FDCWD, path) == 0 ? 0 : -errno;
}

void heap_folder_discard(const char *path)
{
    syscall(SYS_unlinkat, AT_FDCWD, temporary_of(path), 0);
}

unsigned heap_folder_random(void)
{
    unsigned number = 0;
    struct timespec now;

    if (syscall(SYS_getrandom, &number, sizeof number, 1 /* GRND_NONBLOCK */) != sizeof number) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        number = (unsigned)now.tv_nsec ^ (unsigned)(uintptr_t)&now;
    }
    return number | 1u << 31;
}

void heap_folder_remove(const char *path)
{
    struct stat st;

    if (is_own(AT_FDCWD, path, &st))
        syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

// A name taken apart. The suffix is ".heap" or ".folded", and may have ".tmp" behind it.
struct name {
    int pid;
    unsigned number;
    const char *suffix;
};

static bool parse(const char *text, struct name *out)
{
    uint64_t pid, number;

    if (strncmp(text, PREFIX, sizeof PREFIX - 1) != 0)
        return false;
    text += sizeof PREFIX - 1;
    if (!number_read(&text, &pid) || pid > INT_MAX || *text++ != '-' ||
        !number_read(&text, &number) || number > UINT_MAX)
        return false;
    *out = (struct name){(int)pid, (unsigned)number, text};
    return true;
}

static bool has_ended(int pid)
{
    return pid > 0 && syscall(SYS_kill, pid, 0) != 0 && errno == ESRCH;
}

static bool is_unfinished(const char *suffix)
{
    return strcmp(suffix, ".heap" TEMPORARY) == 0 || strcmp(suffix, ".folded" TEMPORARY) == 0;
}

// By its third line; all of them come within 200 bytes.
static bool is_by_pressure(int dir, const char *name)
{
    static char head[256];
    int fd = kernel_open_at(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return false;
    long n = kernel_read(fd, head, sizeof head - 1);
    kernel_close(fd);
    head[n > 0 ? n : 0] = '\0';
    return strstr(head, ", written at " HEAP_FOLDER_PRESSURE "\n") != NULL;
}

// The newest of those seen so far, the newest first.
static struct {
    unsigned count;
    struct kept {
        int64_t ms;
        int pid;
        unsigned number;
    } at[HEAP_FOLDER_KEPT + 1];
} kept;

static void keep_newest(const struct kept *k)
{
    unsigned i = kept.count++;

    for (; i > 0 && kept.at[i - 1].ms < k->ms; i--)
        kept.at[i] = kept.at[i - 1];
    kept.at[i] = *k;
}

static void remove_oldest(int dir)
{
    const struct kept *last = &kept.at[--kept.count];
    static const char *const suffixes[] = {".heap", ".folded"};
    char name[64];
    struct stat st;

    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, PREFIX "%d-%u%s", last->pid, last->number, suffixes[i]);
        if (is_own(dir, name, &st))
            syscall(SYS_unlinkat, dir, name, 0);
    }
}

static void judge(int dir, const char *name)
{
    struct name n;
    struct stat st;

    if (!parse(name, &n) || !has_ended(n.pid) || !is_own(dir, name, &st))
        return;
    if (is_unfinished(n.suffix))
        syscall(SYS_unlinkat, dir, name, 0);
    if (strcmp(n.suffix, ".heap") != 0 || !is_by_pressure(dir, name))
        return;
    keep_newest(
        &(struct kept){st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000, n.pid, n.number});
    if (kept.count > HEAP_FOLDER_KEPT)
        remove_oldest(dir);
}

// As the kernel writes it: getdents64(2).
struct entry {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
};

void heap_folder_prune(const char *dir)
{
    static _Alignas(struct entry) char buf[4096];
    int fd = kernel_open(dir, O_RDONLY | O_DIRECTORY);
    long n;

    if (fd < 0)
        return;
    kept.count = 0;
    while ((n = syscall(SYS_getdents64, fd, buf, sizeof buf)) > 0)
        for (long at = 0; at < n;) {
            const struct entry *e = (const void *)(buf + at);
            at += e->length;
            judge(fd, e->name);
        }
    kernel_close(fd);
}
