#include "pressure/kernel/private_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "pressure/kernel/text.h"

#define LOWEST 512

int private_fd_copy(int fd)
{
    struct rlimit r;
    int from = LOWEST;
    // Two dozen below a small limit: there is room for all of ours and a margin.
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < LOWEST + 32)
        from = r.rlim_cur > 48 ? (int)r.rlim_cur - 24 : (int)(r.rlim_cur / 2);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, from);
    return high < 0 ? -errno : high;
}

// A program that closes all it finds may have a file of its own there by now.
static bool is_same(int fd, int copy)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && fstat(copy, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

int private_fd_move(int fd)
{
    int high = private_fd_copy(fd);
    if (high < 0 || is_same(fd, high))
        text_fd_close(fd);
    return high;
}

// The id of an eventfd; 0 if it is something else, or the kernel shows none.
static uint64_t eventfd_id(int fd)
{
    char path[48] = "/proc/thread-self/fdinfo/", digits[12];
    size_t n = 0, end = strlen(path);
    do
        digits[n++] = (char)('0' + fd % 10);
    while (fd /= 10);
    while (n)
        path[end++] = digits[--n];

    struct text_lines lines;
    uint64_t id, found = 0;
    if (text_open(&lines, path))
        return 0;
    for (const char *line; (line = text_next(&lines));)
        if (text_value(line, "eventfd-id:", &id))
            found = id + 1; // they count from 0
    text_close(&lines);
    return found;
}

static bool is_anonymous(const struct stat *st)
{
    return (st->st_mode & S_IFMT) == 0;
}

int private_fd_identify(int fd, dev_t *dev, ino_t *ino, uint64_t *id)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    *dev = st.st_dev;
    *ino = st.st_ino;
    *id = is_anonymous(&st) ? eventfd_id(fd) : 0;
    return is_anonymous(&st) && !*id ? -ENODEV : 0;
}

bool private_fd_is(int fd, dev_t dev, ino_t ino, uint64_t id)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_dev != dev || st.st_ino != ino)
        return false;
    return !id || eventfd_id(fd) == id;
}
