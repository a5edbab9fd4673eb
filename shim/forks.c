#include "shim/forks.h"

#include <pthread.h>
#include <stdatomic.h>

#include "export/control.h"
#include "mfile/mfile.h"
#include "pool/je.h"
#include "pool/pool.h"
#include "pressure/monitor.h"
#include "shim/boot.h"
#include "shim/callsite.h"
#include "shim/dump.h"
#include "shim/exporter.h"
#include "shim/log.h"
#include "shim/raw_fork.h"
#include "shim/sampling.h"

static _Atomic unsigned under_way;

static void prefork(void)
{
    atomic_fetch_add(&under_way, 1);
    boot_settle();
    exporter_prefork();
    callsite_prefork();
    monitor_prefork();
    pool_prefork();
    mfile_prefork();
}

static void postfork_parent(void)
{
    mfile_postfork_parent();
    pool_postfork_parent();
    monitor_parent();
    exporter_parent();
    callsite_parent();
    atomic_fetch_sub(&under_way, 1);
}

void forks_settle_child(void)
{
    mfile_postfork_child();
    control_child();
    monitor_child();
    exporter_child();
    callsite_child();
    sampling_child();
    dump_child();
    boot_child();
}

static void postfork_child(void)
{
    pool_postfork_child();
    forks_settle_child();
    raw_fork_known();
    atomic_store(&under_way, 0);
}

void forks_register(void)
{
    static _Atomic bool done;

    if (atomic_exchange(&done, true))
        return;
    je_free(je_malloc(1));
    if (pthread_atfork(prefork, postfork_parent, postfork_child) != 0)
        log_line(LOG_FEATURE, "fork handlers cannot be registered: forking while other threads "
                              "allocate is unsafe");
}

bool forks_under_way(void)
{
    return atomic_load(&under_way) != 0;
}
