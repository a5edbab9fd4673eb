#include "mfile/parse/maps.h"
#include "shim/kernel.h"
#include "shim/number.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

// The longest path and what stands before it.
#define BUFFER 8192

static bool hex(char **at, char stop, uint64_t *out)
{
    uint64_t n = 0;
    char *p = *at;

    for (;; p++) {
        unsigned digit;
        if (*p >= '0' && *p <= '9')
            digit = (unsigned)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            digit = (unsigned)(*p - 'a' + 10);
        else
            break;
        if (n >> 60)
            return false;
        n = n << 4 | digit;
    }
    if (p == *at || *p != stop)
        return false;
    *at = p + 1;
    *out = n;
    return true;
}

// The kernel's mark of a file that has no name any more; no part of its path.
static size_t cut_deleted(char *path, size_t length)
{
    static const char mark[] = " (deleted)";
    size_t n = sizeof mark - 1;

    if (length > n && memcmp(path + length - n, mark, n) == 0)
        path[length -= n] = '\0';
    return length;
}

bool maps_parse(char *text, struct maps_line *out)
{
    uint64_t major, minor;
    char *p = text;

    if (!hex(&p, '-', &out->start) || !hex(&p, ' ', &out->end) || out->start >= out->end)
        return false;
    if (strnlen(p, 5) < 5 || p[4] != ' ')
        return false;
    out->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
                (p[2] == 'x' ? PROT_EXEC : 0);
    out->shared = p[3] == 's';
    p += 5;
    if (!hex(&p, ' ', &out->offset) || !hex(&p, ':', &major) || !hex(&p, ' ', &minor))
        return false;
    const char *end = p;
    if (!number_read(&end, &out->inode) || out->inode == UINT64_MAX)
        return false;
    p += end - p;
    out->dev = (uint32_t)(major << 20 | minor);
    p += strspn(p, " ");
    cut_deleted(p, strlen(p));
    out->path = p;
    return true;
}

bool maps_is_file(const struct maps_line *line)
{
    return line->inode && strncmp(line->path, "/dev/zero", 9) != 0 &&
           strncmp(line->path, "/SYSV", 5) != 0;
}

// Hands out the whole lines of buf; what is left of an unfinished one moves to its start. False:
// the caller has seen enough.
static bool take_lines(char *buf, size_t *length, bool (*each)(void *, const struct maps_line *),
                       void *arg)
{
    char *at = buf, *end = buf + *length, *newline;

    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        struct maps_line line;
        *newline = '\0';
        if (maps_parse(at, &line) && !each(arg, &line))
            return false;
        at = newline + 1;
    }
    *length = (size_t)(end - at);
    memmove(buf, at, *length);
    return true;
}

static int read_lines(int fd, bool (*each)(void *, const struct maps_line *), void *arg)
{
    char buf[BUFFER];
    size_t length = 0;

    for (;;) {
        // No line is this long; if one is, it is not for us.
        if (length == sizeof buf)
            length = 0;
        long n = kernel_read(fd, buf + length, sizeof buf - length);
        if (n <= 0)
            return (int)n;
        length += (size_t)n;
        if (!take_lines(buf, &length, each, arg))
            return 0;
    }
}

int maps_open(void)
{
    int saved = errno;
    int fd = kernel_open("/proc/self/maps", O_RDONLY);

    errno = saved;
    return fd;
}

int maps_read_from(int fd, bool (*each)(void *, const struct maps_line *), void *arg)
{
    int saved = errno, error = read_lines(fd, each, arg);

    kernel_close(fd);
    errno = saved;
    return error;
}

int maps_read(bool (*each)(void *, const struct maps_line *), void *arg)
{
    int fd = maps_open();

    return fd < 0 ? fd : maps_read_from(fd, each, arg);
}

int maps_path_of_fd(int fd, char *path, size_t size)
{
    char link[32] = "/proc/self/fd/";
    int saved = errno;

    *number_write(link + strlen(link), (uint64_t)fd) = '\0';
    long length = kernel_read_link(link, path, size);
    errno = saved;
    if (length < 0)
        return (int)length;
    return (int)cut_deleted(path, (size_t)length);
}
