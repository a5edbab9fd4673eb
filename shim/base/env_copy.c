#include "shim/base/env_copy.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *keep_text(const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;
    int saved = errno;
    long at;

    if (!text)
        return NULL;
    at = syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    errno = saved;
    return at == -1 ? NULL : memcpy((void *)at, text, size);
}
