#include "shim/atfork.h"

#include <pthread.h>
#include <stdatomic.h>

#include "export/control.h"
#include "mfile/mfile.h"
#include "pool/pool.h"
#include "pressure/watchdog_thread.h"
#include "shim/base/log.h"
#include "shim/glue/prometheus.h"
#include "shim/guarded.h"
#include "shim/init.h"
#include "shim/profile/backtrace.h"
#include "shim/profile/dump.h"
#include "shim/profile/sampling.h"
#include "shim/raw_fork.h"

static _Atomic unsigned under_way;

static void prefork(void)
{
    atomic_fetch_add(&under_way, 1);
    boot_settle();
    exporter_prefork();
    callsite_prefork();
    watchdog_thread_prefork();
    pool_prefork();
    mfile_prefork();
    // jemalloc's own handler comes next and takes all of its locks, until its other one comes
    // before ours.
    region_fork_begin();
}

static void postfork_parent(void)
{
    region_fork_end();
    mfile_postfork_parent();
    pool_postfork_parent();
    watchdog_thread_parent();
    exporter_parent();
    callsite_parent();
    atomic_fetch_sub(&under_way, 1);
}

void forks_settle_child(void)
{
    mfile_postfork_child();
    control_child();
    watchdog_thread_child();
    exporter_child();
    callsite_child();
    sampling_child();
    dump_child();
    boot_child();
}

static void postfork_child(void)
{
    region_fork_end();
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
    guarded_attach();
    if (pthread_atfork(prefork, postfork_parent, postfork_child) != 0)
        log_line(LOG_FEATURE, "fork handlers cannot be registered: forking while other threads "
                              "allocate is unsafe");
}

bool forks_under_way(void)
{
    return atomic_load(&under_way) != 0;
}
