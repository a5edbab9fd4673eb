#include "pressure/kernel/text.h"
#include "shim/kernel.h"
#include "shim/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic unsigned without_descriptor;

unsigned text_without_descriptor(void)
{
    return atomic_load_explicit(&without_descriptor, memory_order_relaxed);
}

static int open_file(const char *path)
{
    int fd = kernel_open(path, O_RDONLY);

    if (fd == -EMFILE || fd == -ENFILE)
        atomic_fetch_add_explicit(&without_descriptor, 1, memory_order_relaxed);
    return fd;
}

int text_open(struct text_lines *l, const char *path)
{
    l->fd = open_file(path);
    l->skipping = false;
    l->start = l->end = 0;
    return l->fd < 0 ? l->fd : 0;
}

void text_close(struct text_lines *l)
{
    kernel_close(l->fd);
}

// Moves what is left to the front and reads behind it; false at the end of the file.
static bool refill(struct text_lines *l)
{
    memmove(l->buf, l->buf + l->start, l->end - l->start);
    l->end -= l->start;
    l->start = 0;
    long n = kernel_read(l->fd, l->buf + l->end, sizeof l->buf - 1 - l->end);
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
    int fd = open_file(path);
    if (fd < 0)
        return fd;
    long n = kernel_read(fd, buf, size - 1);
    kernel_close(fd);
    if (n < 0)
        return (int)n;
    buf[n] = '\0';
    return (int)n;
}

bool text_value(const char *line, const char *key, uint64_t *out)
{
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0 || line[n] != ' ')
        return false;
    const char *p = line + n;
    p += strspn(p, " ");
    return number_read(&p, out);
}

bool text_limit(const char *text, uint64_t *out)
{
    uint64_t x = UINT64_MAX;
    const char *p = text;
    if (strncmp(p, "max", 3) == 0)
        p += 3;
    else if (!number_read(&p, &x))
        return false;
    if (*p != '\0' && *p != '\n')
        return false;
    *out = x;
    return true;
}
