// plugin - what a program loads and unloads again: thread-local storage that is allocated on first
// use, a constructor and a destructor that allocate.

#include "tests/preload/victim.h"

static __thread unsigned char scratch[5000];
static __thread void *block;
static void *own;

__attribute__((visibility("default"))) void *plugin_work(size_t size);
__attribute__((visibility("default"))) void *plugin_malloc(void);

__attribute__((constructor)) static void load(void)
{
    own = malloc(20000);
    victim_fill(own, 20000, 20);
}

__attribute__((destructor)) static void unload(void)
{
    CHECK(victim_intact(own, 20000, 20000, 20), "the plugin's own block");
    free(own);
}

// The caller owns the result, which outlives the plugin.
void *plugin_work(size_t size)
{
    for (size_t i = 0; i < sizeof scratch; i++)
        CHECK(scratch[i] == 0, "byte %zu of new thread-local storage", i);
    memset(scratch, 1, sizeof scratch);
    block = malloc(size);
    victim_fill(block, size, size);
    return block;
}

// Which malloc() this library calls.
void *plugin_malloc(void)
{
    void *(*fn)(size_t) = malloc;
    void *address;

    memcpy(&address, &fn, sizeof address);
    return address;
}
