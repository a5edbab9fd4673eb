#include "pressure/kernel/private_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "shim/kernel.h"

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
        kernel_close(fd);
    return high;
}

int private_fd_identify(int fd, dev_t *dev, ino_t *ino)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    *dev = st.st_dev;
    *ino = st.st_ino;
    return 0;
}

bool private_fd_is(int fd, dev_t dev, ino_t ino)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}
