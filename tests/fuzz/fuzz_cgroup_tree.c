// Whole files: the input is cut at NUL bytes into what a v1 and a v2 tree contain, in /dev/shm.
// Both parts of the reader follow whatever paths the text names, so the root keeps them in.

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pressure/kernel/text.h"
#include "pressure/usage/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {
    "proc/self/cgroup",
    "proc/self/mountinfo",
    "cg/memory.stat",
    "cg/a/memory.stat",
    "cg/a/memory.max",
    "cg/a/memory.high",
    "cg/a/memory.current",
    "cg/a/memory.usage_in_bytes",
    "cg/a/memory.limit_in_bytes",
    "proc/self/statm",
    "proc/meminfo",
    "cg/memory.usage_in_bytes",
    "cg/memory.limit_in_bytes",
};
static char root[64];

static void tidy(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    if (system(command) != 0)
        abort();
}

static void prepare(void)
{
    char path[128];
    strcpy(root, "/dev/shm/tidepool-fuzz-XXXXXX");
    if (!mkdtemp(root))
        abort();
    static const char *const dirs[] = {"proc", "proc/self", "cg", "cg/a"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s/%s", root, dirs[i]);
        if (mkdir(path, 0700) != 0)
            abort();
    }
    atexit(tidy);
}

static void put(const char *name, const char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sample_source source;
    struct pressure_options options = pressure_defaults;
    struct pressure_sample s;
    if (!root[0])
        prepare();
    const char *p = (const char *)data, *end = p + size;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *nul = memchr(p, '\0', (size_t)(end - p));
        size_t n = (size_t)((nul ? nul : end) - p);
        put(files[i], p, n);
        p += nul ? n + 1 : n;
    }
    options.root = root;
    sample_init(&source, &options);
    for (uint64_t now = 0; now < 3; now++) {
        sample_take(&source, &options, now * 100, &s);
        if (s.limit_bytes != PRESSURE_UNLIMITED && s.headroom_bytes > s.limit_bytes)
            __builtin_trap();
    }
    return 0;
}
