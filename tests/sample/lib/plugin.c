// plugin - a library that allocates while it is loaded and unloaded, and on demand.
#include <stdlib.h>
#include <string.h>

static void *held[64];

__attribute__((constructor)) static void load(void)
{
    for (int i = 0; i < 64; i++)
        held[i] = calloc(1, (size_t)i * 999 + 1);
}

__attribute__((destructor)) static void unload(void)
{
    for (int i = 0; i < 64; i++)
        free(realloc(held[i], (size_t)i * 1999 + 1));
}

__attribute__((noinline)) static void *deep(int depth, size_t size)
{
    char *block = depth ? deep(depth - 1, size) : malloc(size);

    block[0]++;
    return block;
}

void plugin_work(int depth, size_t size);
void plugin_work(int depth, size_t size)
{
    free(deep(depth, size));
}
