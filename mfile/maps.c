#include "mfile/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static bool decimal(char **at, uint64_t *out)
{
    uint64_t n = 0;
    char *p = *at;

    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return false;
    if (p == *at)
        return false;
    *at = p;
    *out = n;
    return true;
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
    if (!hex(&p, ' ', &out->offset) || !hex(&p, ':', &major) || !hex(&p, ' ', &minor) ||
        !decimal(&p, &out->inode))
        return false;
    out->dev = (uint32_t)(major << 20 | minor);
    out->path = p + strspn(p, " ");
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

int maps_read(bool (*each)(void *, const struct maps_line *), void *arg)
{
    char buf[BUFFER];
    size_t length = 0;
    int saved = errno, error = 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        error = -errno;
        errno = saved;
        return error;
    }
    for (;;) {
        // No line is this long; if one is, it is not for us.
        if (length == sizeof buf)
            length = 0;
        long n = syscall(SYS_read, fd, buf + length, sizeof buf - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            error = -errno;
        if (n <= 0)
            break;
        length += (size_t)n;
        if (!take_lines(buf, &length, each, arg))
            break;
    }
    syscall(SYS_close, fd);
    errno = saved;
    return error;
}

int maps_path_of_fd(int fd, char *path, size_t size)
{
    static const char deleted[] = " (deleted)";
    char link[32] = "/proc/self/fd/", digits[12];
    size_t n = sizeof "/proc/self/fd/" - 1, d = 0;
    int saved = errno;

    for (unsigned rest = (unsigned)fd; rest || !d; rest /= 10)
        digits[d++] = (char)('0' + rest % 10);
    while (d)
        link[n++] = digits[--d];
    link[n] = '\0';
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (length < 0) {
        length = -errno;
        errno = saved;
        return (int)length;
    }
    path[length] = '\0';
    if ((size_t)length >= sizeof deleted &&
        strcmp(path + length - (sizeof deleted - 1), deleted) == 0) {
        length -= (long)sizeof deleted - 1;
        path[length] = '\0';
    }
    return (int)length;
}
