#include "pool/jemalloc_private/no_tcache.h"

#include <stdbool.h>

#include "pool/jemalloc_private/jemalloc_private.h"

// jemalloc's data of a thread, which begins with whether it has caches.
struct tsd;
bool __real_je_tsd_tcache_enabled_data_init(struct tsd *);
bool __wrap_je_tsd_tcache_enabled_data_init(struct tsd *);
void je_tsd_slow_update(struct tsd *);

static _Thread_local bool without __attribute__((tls_model("initial-exec")));

void no_tcache_self(void)
{
    without = true;
}

// At a thread's first request. What jemalloc does itself under opt.tcache:false.
bool __wrap_je_tsd_tcache_enabled_data_init(struct tsd *tsd)
{
    if (!without || !je_private_is_on())
        return __real_je_tsd_tcache_enabled_data_init(tsd);
    *(bool *)tsd = false;
    je_tsd_slow_update(tsd);
    return false;
}
