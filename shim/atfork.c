#include "shim/atfork.h"

#include <pthread.h>
#include <stdatomic.h>

#include "export/control.h"
#include "export/textfile/textfile.h"
#include "mfile/mfile.h"
#include "pool/common/guard.h"
#include "pool/pool.h"
#include "pressure/evaluate.h"
#include "pressure/watchdog_thread.h"
#include "shim/base/log.h"
#include "shim/glue/prometheus.h"
#include "shim/init.h"
#include "shim/jemalloc/guarded.h"
#include "shim/own_thread/first_thread.h"
#include "shim/own_thread/raw_fork.h"
#include "shim/profile/backtrace.h"
#include "shim/profile/dump.h"
#include "shim/profile/sampling.h"

static _Atomic unsigned under_way;

static void prefork(void)
{
    if (!pool_entered())
        evaluate_before_fork();
    atomic_fetch_add(&under_way, 1);
    boot_settle();
    textfile_prefork();
    callsite_prefork();
    pool_prefork();
    mfile_prefork();
    // jemalloc's own handler comes next and takes all of its locks, until its other one comes
    // before ours.
    guard_fork_begin();
}

static void postfork_parent(void)
{
    guard_fork_end();
    mfile_postfork_parent();
    pool_postfork_parent();
    textfile_postfork_parent();
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
    first_thread_watch();
}

static void postfork_child(void)
{
    guard_fork_end();
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
