#include "export/textfile/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "export/out.h"
#include "pressure/kernel/private_fd.h"

#define PATH_SIZE 4096
#define OPEN_AGAIN_MAX 3

// syscall(2) with the kernel's way to say what went wrong.
static long call(long number, long a, long b, long c, long d)
{
    int saved = errno;
    long result = syscall(number, a, b, c, d);

    if (result < 0)
        result = -errno;
    errno = saved;
    return result;
}

// A program that turns into a daemon closes whatever it finds open, at any moment, and opens its
// own files in the same place. So ours go high up, where no new file comes to lie, and before that
// is done, or anything is written or closed, each is asked whether it still is what was opened.
static bool is_same(int fd, const struct stat *named)
{
    struct stat opened;

    return call(SYS_fstat, fd, (long)&opened, 0, 0) == 0 && opened.st_ino == named->st_ino &&
           opened.st_dev == named->st_dev;
}

// A name may come to mean another file between the two, when its owner replaces it: then what was
// opened has that name still for the kernel, as a deleted file's. Not known without /proc: it stays
// open then, for it may be the program's.
static bool was_named(int fd, const char *name)
{
    static const char gone[] = " (deleted)";
    char link[32] = "", path[PATH_SIZE];
    struct out o = out_begin(link, sizeof link - 1, "");

    out_text(&o, "/proc/self/fd/");
    out_number(&o, (uint64_t)fd);
    long n = call(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, sizeof path - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    if (n >= (long)sizeof gone && strcmp(path + n - (sizeof gone - 1), gone) == 0)
        path[n - (long)(sizeof gone - 1)] = '\0';
    const char *slash = strrchr(path, '/'), *last = strrchr(name, '/');
    return slash && strcmp(slash + 1, last ? last + 1 : name) == 0;
}

static int move_up(int fd, int dir, const char *name)
{
    struct stat named;
    int high = private_fd_copy(fd);

    if (high < 0) {
        if ((folder_stat(dir, name, &named) == 0 && is_same(fd, &named)) || was_named(fd, name))
            folder_close(fd);
        return high;
    }
    if (folder_stat(dir, name, &named) != 0 || !is_same(high, &named)) {
        folder_close(high);
        if (was_named(fd, name))
            folder_close(fd);
        return -EBADF;
    }
    if (is_same(fd, &named))
        folder_close(fd);
    return high;
}

static int open_at(int dir, const char *name, int flags)
{
    int saved = errno;
    int fd =
        (int)call(SYS_openat, dir, (long)name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);

    if (fd >= 0)
        fd = move_up(fd, dir, name);
    errno = saved;
    return fd;
}

int folder_open(const char *path)
{
    char plain[PATH_SIZE];
    size_t length = strlen(path);
    int again = 0, fd;

    if (length >= sizeof plain)
        return -ENAMETOOLONG;
    // With a slash at its end a link would be followed.
    while (length > 1 && path[length - 1] == '/')
        length--;
    memcpy(plain, path, length);
    plain[length] = '\0';
    // Its name was given to another file meanwhile, or the program closed this one. What is there
    // now may open, or says better why it does not.
    do
        fd = open_at(AT_FDCWD, plain, O_PATH | O_DIRECTORY);
    while (fd == -EBADF && again++ < OPEN_AGAIN_MAX);
    return fd;
}

void folder_close(int fd)
{
    call(SYS_close, fd, 0, 0, 0);
}

int folder_remove(int dir, const char *name)
{
    return (int)call(SYS_unlinkat, dir, (long)name, 0, 0);
}

int folder_stat(int dir, const char *name, struct stat *st)
{
    return (int)call(SYS_newfstatat, dir, (long)name, (long)st, AT_SYMLINK_NOFOLLOW);
}

static int write_all(int fd, const char *text, size_t length)
{
    while (length) {
        long n = call(SYS_write, fd, (long)text, (long)length, 0);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n ? (int)n : -ENOSPC;
        text += n;
        length -= (size_t)n;
    }
    return 0;
}

// A file beyond the process's limit would cost it a signal, and most programs their life.
static bool is_beyond_limit(size_t length)
{
    struct rlimit limit;

    return call(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit) == 0 && limit.rlim_cur < length;
}

static int create(int dir, const char *name)
{
    int fd = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL);

    // An earlier process of this pid left it, killed while it wrote; or an administrator put it
    // there.
    if (fd == -EEXIST && folder_remove(dir, name) == 0)
        fd = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL);
    return fd;
}

static int write_beside(int dir, const char *temporary, const char *text, size_t length)
{
    int fd = create(dir, temporary), err;

    if (fd < 0)
        return fd;
    err = write_all(fd, text, length);
    // Whatever the umask: the scraper is another user.
    if (!err)
        err = (int)call(SYS_fchmod, fd, 0644, 0, 0);
    // Network file systems tell here of what write() could not store.
    int closed = (int)call(SYS_close, fd, 0, 0, 0);
    if (!err && closed != -EINTR)
        err = closed;
    if (err)
        folder_remove(dir, temporary);
    return err;
}

int folder_replace(int dir, const char *temporary, const char *name, const char *text,
                   size_t length)
{
    struct stat st;
    int err;

    if (folder_stat(dir, name, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return -EEXIST;
    if (is_beyond_limit(length))
        return -EFBIG;
    err = write_beside(dir, temporary, text, length);
    if (err)
        return err;
    err = (int)call(SYS_renameat, dir, (long)temporary, dir, (long)name);
    if (err)
        folder_remove(dir, temporary);
    return err;
}

long folder_read(int dir, const char *name, char *buf, size_t size, struct stat *st)
{
    // Not waiting for a writer where the name is a pipe's.
    int fd = open_at(dir, name, O_RDONLY | O_NONBLOCK);
    long n;

    if (fd < 0)
        return fd;
    n = call(SYS_fstat, fd, (long)st, 0, 0);
    if (n == 0)
        n = S_ISREG(st->st_mode) ? call(SYS_read, fd, (long)buf, (long)size, 0) : -EINVAL;
    folder_close(fd);
    return n;
}

// As the kernel writes it.
struct entry64 {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
};

int folder_list(int dir, void (*each)(void *arg, const char *name), void *arg)
{
    _Alignas(struct entry64) char buf[4096];
    int fd = open_at(dir, ".", O_RDONLY | O_DIRECTORY);
    long n;

    if (fd < 0)
        return fd;
    while ((n = call(SYS_getdents64, fd, (long)buf, sizeof buf, 0)) > 0)
        for (long at = 0; at < n;) {
            const struct entry64 *e = (const void *)(buf + at);
            at += e->length;
            each(arg, e->name);
        }
    folder_close(fd);
    return (int)n;
}

int folder_touch(int dir, const char *name)
{
    int fd, err = (int)call(SYS_utimensat, dir, (long)name, 0, AT_SYMLINK_NOFOLLOW);

    if (err != -ENOENT)
        return err;
    fd = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0)
        return fd;
    folder_close(fd);
    return 0;
}
