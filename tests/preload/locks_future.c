// All memory is locked, present and future, by a process that may lock more than its limit says.

#include "tests/preload/victim.h"

#include <sys/mman.h>
#include <sys/resource.h>

int main(void)
{
    static void *p[64];
    struct rlimit little = {64 * KIB, 64 * KIB};

    CHECK(setrlimit(RLIMIT_MEMLOCK, &little) == 0, "setrlimit");
    CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "mlockall");
    for (int round = 0; round < 8; round++) {
        for (size_t i = 0; i < COUNT(p); i++) {
            CHECK((p[i] = malloc(MIB)), "%zu MiB", i);
            memset(p[i], 1, MIB);
        }
        for (size_t i = 0; i < COUNT(p); i++)
            free(p[i]);
        usleep(250000);
    }
    return 0;
}
