// watcher - a heap tracer: counts requests, and calls on to whichever allocator is behind it.

#include "tests/preload/victim.h"

__attribute__((visibility("default"))) size_t watcher_requests;

void *__libc_malloc(size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    watcher_requests++;
    return __libc_malloc(size);
}

__attribute__((visibility("default"))) void free(void *ptr)
{
    static void (*next)(void *);

    if (!next) {
        void *symbol = dlsym(RTLD_NEXT, "free");
        memcpy(&next, &symbol, sizeof next);
    }
    next(ptr);
}
