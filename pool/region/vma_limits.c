#include "pool/region/vma_limits.h"
#include "shim/kernel.h"

#include <stdlib.h>
#include <string.h>

long vma_max(void)
{
    char text[24] = "";
    int fd = kernel_open("/proc/sys/vm/max_map_count", O_RDONLY);

    if (fd < 0)
        return -1;
    long n = kernel_read(fd, text, sizeof text - 1);
    kernel_close(fd);
    return n > 0 ? strtol(text, NULL, 10) : -1;
}

long vma_count(void)
{
    char text[4096];
    long lines = 0;
    long n;
    int fd = kernel_open("/proc/self/maps", O_RDONLY);

    if (fd < 0)
        return -1;
    while ((n = kernel_read(fd, text, sizeof text)) > 0)
        for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + n - p))); p++)
            lines++;
    kernel_close(fd);
    return n < 0 ? -1 : lines;
}

bool vma_locked(void)
{
    char text[4096];
    int fd = kernel_open("/proc/self/status", O_RDONLY);
    long n = fd < 0 ? -1 : kernel_read(fd, text, sizeof text - 1);

    if (fd >= 0)
        kernel_close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *locked = strstr(text, "VmLck:");
    return !locked || strtoul(locked + strlen("VmLck:"), NULL, 10) != 0;
}
