// maps_little: a small process has little mapped, whether it may be touched or not: a debugger that
// writes a core (gcore) writes all of it, mlockall() locks all of it, an emulator has tables for
// all of it. What is mapped grows with what is live.

#include "tests/preload/victim.h"

#include <sys/mman.h>

static size_t status_bytes(const char *field)
{
    char line[256];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    CHECK(f, "/proc/self/status: %s", strerror(errno));
    while (fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtoul(line + strlen(field), NULL, 10);
    fclose(f);
    return kib * KIB;
}

static char *take(size_t size)
{
    char *p = malloc(size);

    CHECK(p, "malloc %zu", size);
    memset(p, 1, size);
    return victim_hide(p);
}

int main(void)
{
    for (size_t i = 0; i < COUNT(victim_sizes); i++)
        take(victim_sizes[i]);
    size_t before = status_bytes("VmSize:");
    CHECK(before < 64 * MIB, "%zu MiB are mapped at the start", before / MIB);

    for (size_t bytes = 0; bytes < 64 * MIB; bytes += 50000)
        take(50000);
    size_t grown = status_bytes("VmSize:") - before;
    // A thread of the library's has a stack, which is mapped and hardly used.
    CHECK(grown < 64 * MIB + 24 * MIB, "%zu MiB are mapped for 64 MiB", grown / MIB);

    if (mlockall(MCL_CURRENT) != 0) {
        CHECK(errno == EPERM || errno == ENOMEM, "mlockall: %s", strerror(errno));
        return 0;
    }
    size_t locked = status_bytes("VmLck:");
    CHECK(locked < 150 * MIB, "%zu MiB are locked", locked / MIB);
    return 0;
}
