// rlimit - a program that limits its own address space or data while it runs.
//
// jemalloc then gives free addresses back instead of keeping them, as where the limit was there at
// the start. The pools read the limits whenever they grow: see pool/region/region.h.
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pressure/watchdog_thread.h"
#include "shim/heap.h"
#include "shim/init.h"
#include "shim/next.h"

static void heed(pid_t pid, int resource, const struct rlimit *to)
{
    bool counts_mappings = resource == RLIMIT_AS || resource == RLIMIT_DATA;

    if (to && counts_mappings && to->rlim_cur != RLIM_INFINITY && watchdog_thread_owns_memory() &&
        (!pid || pid == getpid()))
        boot_spare_address_space();
}

HEAP_EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    heed(0, (int)resource, limit);
    return next_call.setrlimit((int)resource, limit);
}

HEAP_EXPORT int prlimit(pid_t pid, __rlimit_resource_t resource, const struct rlimit *to,
                        struct rlimit *was)
{
    heed(pid, (int)resource, to);
    return next_call.prlimit(pid, (int)resource, to, was);
}

static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "one kind of program only");
HEAP_EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
    const void *to = limit;

    heed(0, (int)resource, to);
    return next_call.setrlimit64((int)resource, to);
}

HEAP_EXPORT int prlimit64(pid_t pid, __rlimit_resource_t resource, const struct rlimit64 *limit,
                          struct rlimit64 *was)
{
    const void *to = limit;

    heed(pid, (int)resource, to);
    return next_call.prlimit64(pid, (int)resource, to, (void *)was);
}
