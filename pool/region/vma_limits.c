#include "pool/region/vma_limits.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// Not libc's: a request for memory is no place where a thread may be cancelled.
static int open_proc(const char *path)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

static ssize_t read_proc(int fd, char *text, size_t size)
{
    return syscall(SYS_read, fd, text, size);
}

static void close_proc(int fd)
{
    syscall(SYS_close, fd);
}

long vma_max(void)
{
    char text[24] = "";
    int fd = open_proc("/proc/sys/vm/max_map_count");

    if (fd < 0)
        return -1;
    ssize_t n = read_proc(fd, text, sizeof text - 1);
    close_proc(fd);
    return n > 0 ? strtol(text, NULL, 10) : -1;
}

long vma_count(void)
{
    char text[4096];
    long lines = 0;
    ssize_t n;
    int fd = open_proc("/proc/self/maps");

    if (fd < 0)
        return -1;
    while ((n = read_proc(fd, text, sizeof text)) > 0)
        for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + n - p))); p++)
            lines++;
    close_proc(fd);
    return n < 0 ? -1 : lines;
}

bool vma_locked(void)
{
    char text[4096];
    int fd = open_proc("/proc/self/status");
    ssize_t n = fd < 0 ? -1 : read_proc(fd, text, sizeof text - 1);

    if (fd >= 0)
        close_proc(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *locked = strstr(text, "VmLck:");
    return !locked || strtoul(locked + strlen("VmLck:"), NULL, 10) != 0;
}
