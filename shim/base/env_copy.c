#include "shim/base/env_copy.h"

#include <errno.h>
#include <string.h>

#include "shim/kernel.h"

const char *keep_text(const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;
    int saved = errno;

    if (!text)
        return NULL;
    char *copy = kernel_map(size, 0);
    errno = saved;
    return copy ? memcpy(copy, text, size) : NULL;
}
