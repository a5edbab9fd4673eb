#include "export/heap/heap_text.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void heap_text_begin(struct heap_text *t, int fd)
{
    struct rlimit limit;

    t->fd = fd;
    t->error = 0;
    t->used = 0;
    t->room = UINT64_MAX;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        t->room = limit.rlim_cur;
}

static void flush(struct heap_text *t)
{
    size_t done = 0;

    if (!t->error && t->used > t->room)
        t->error = -EFBIG;
    t->room -= t->error ? 0 : t->used;
    while (!t->error && done < t->used) {
        long n = syscall(SYS_write, t->fd, t->buffer + done, t->used - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            t->error = n ? -errno : -EIO;
    }
    t->used = 0;
}

void heap_text_bytes(struct heap_text *t, const char *bytes, size_t size)
{
    while (size && !t->error) {
        size_t room = sizeof t->buffer - t->used, part = size < room ? size : room;
        memcpy(t->buffer + t->used, bytes, part);
        t->used += part;
        bytes += part;
        size -= part;
        if (t->used == sizeof t->buffer)
            flush(t);
    }
}

void heap_text_add(struct heap_text *t, const char *text)
{
    heap_text_bytes(t, text, strlen(text));
}

static void in_base(struct heap_text *t, uint64_t n, unsigned base)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = "0123456789abcdef"[n % base];
    while (n /= base);
    heap_text_bytes(t, digits + at, sizeof digits - at);
}

void heap_text_number(struct heap_text *t, uint64_t n)
{
    in_base(t, n, 10);
}

void heap_text_hex(struct heap_text *t, uint64_t n)
{
    heap_text_add(t, "0x");
    in_base(t, n, 16);
}

int heap_text_end(struct heap_text *t)
{
    flush(t);
    return t->error;
}
