#include "pressure/kernel/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int text_fd_open(const char *path, int flags)
{
    long fd = syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NOCTTY, 0);
    return fd < 0 ? -errno : (int)fd;
}

long text_fd_read(int fd, void *buf, size_t size)
{
    long n;
    do
        n = syscall(SYS_read, fd, buf, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void text_fd_close(int fd)
{
    syscall(SYS_close, fd);
}

int text_open(struct text_lines *l, const char *path)
{
    l->fd = text_fd_open(path, O_RDONLY);
    l->skipping = false;
    l->start = l->end = 0;
    return l->fd < 0 ? l->fd : 0;
}

void text_close(struct text_lines *l)
{
    text_fd_close(l->fd);
}

// Moves what is left to the front and reads behind it; false at the end of the file.
static bool refill(struct text_lines *l)
{
    memmove(l->buf, l->buf + l->start, l->end - l->start);
    l->end -= l->start;
    l->start = 0;
    long n = text_fd_read(l->fd, l->buf + l->end, sizeof l->buf - 1 - l->end);
    if (n <= 0)
        return false;
    l->end += (size_t)n;
    return true;
}

char *text_next(struct text_lines *l)
{
    for (;;) {
        char *line = l->buf + l->start;
        char *nl = memchr(line, '\n', l->end - l->start);
        if (nl) {
            *nl = '\0';
            l->start = (size_t)(nl - l->buf) + 1;
            if (!l->skipping)
                return line;
            l->skipping = false;
        } else if (l->end - l->start == sizeof l->buf - 1) {
            l->skipping = true;
            l->start = l->end = 0;
        } else if (!refill(l)) {
            // The last line of a file may lack its newline.
            if (l->start == l->end || l->skipping)
                return NULL;
            l->buf[l->end] = '\0';
            line = l->buf + l->start;
            l->start = l->end;
            return line;
        }
    }
}

int text_read(const char *path, char *buf, size_t size)
{
    int fd = text_fd_open(path, O_RDONLY);
    if (fd < 0)
        return fd;
    long n = text_fd_read(fd, buf, size - 1);
    text_fd_close(fd);
    if (n < 0)
        return (int)n;
    buf[n] = '\0';
    return (int)n;
}

bool text_u64(const char **p, uint64_t *out)
{
    const char *s = *p;
    uint64_t x = 0;
    bool full = false;
    for (; *s >= '0' && *s <= '9'; s++) {
        full |= __builtin_mul_overflow(x, (uint64_t)10, &x);
        full |= __builtin_add_overflow(x, (uint64_t)(*s - '0'), &x);
    }
    if (s == *p)
        return false;
    *out = full ? UINT64_MAX : x;
    *p = s;
    return true;
}

bool text_value(const char *line, const char *key, uint64_t *out)
{
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0 || line[n] != ' ')
        return false;
    const char *p = line + n;
    p += strspn(p, " ");
    return text_u64(&p, out);
}

bool text_limit(const char *text, uint64_t *out)
{
    uint64_t x = UINT64_MAX;
    const char *p = text;
    if (strncmp(p, "max", 3) == 0)
        p += 3;
    else if (!text_u64(&p, &x))
        return false;
    if (*p != '\0' && *p != '\n')
        return false;
    *out = x;
    return true;
}
