// early_thread - a library that grows in its constructor, which starts our thread, and waits there
// until that has confined itself. Preloaded after the allocator, it is constructed before it.

#include "tests/preload/victim.h"

#include <dirent.h>
#include <time.h>

enum { BLOCK = 256 << 10, BLOCKS = 320, PATIENCE_MS = 20000 };
static void *blocks[BLOCKS];

static bool is_confined(const char *task)
{
    char path[64], line[128];
    bool confined = false;

    snprintf(path, sizeof path, "/proc/self/task/%.20s/status", task);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        confined |= strncmp(line, "Seccomp:\t2", 10) == 0;
    if (f)
        fclose(f);
    return confined;
}

static bool one_is_confined(void)
{
    DIR *tasks = opendir("/proc/self/task");
    bool found = false;

    CHECK(tasks, "/proc/self/task");
    for (struct dirent *d; (d = readdir(tasks));)
        found |= d->d_name[0] != '.' && is_confined(d->d_name);
    closedir(tasks);
    return found;
}

__attribute__((constructor)) static void grow(void)
{
    const struct timespec ms = {0, 1000000};

    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK);
        CHECK(blocks[i], "block %u", i);
        memset(blocks[i], 1, BLOCK);
    }
    for (unsigned waited = 0; !one_is_confined(); waited++) {
        CHECK(waited < PATIENCE_MS, "no confined thread after %d ms", PATIENCE_MS);
        nanosleep(&ms, NULL);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}
