#include "shim/own_thread/one_thread.h"

#include <errno.h>
#include <sys/prctl.h>

#include "mfile/mfile.h"
#include "pool/region/region.h"
#include "pressure/watchdog_thread.h"
#include "shim/own_thread/raw_fork.h"

// A thread that sleeps is gone in 0.2 ms. One that writes a file or purges takes as long as that.
#define AWAIT_MS 10000

enum one_thread one_thread_begin(void)
{
    int saved = errno;

    // A child with a memory of its own, which it does not know yet.
    raw_fork_notice();
    bool ours = watchdog_thread_owns_memory() && !watchdog_thread_is_self();

    errno = saved;
    if (!ours)
        return ONE_THREAD_NOT_OURS;
    bool gone = mfile_suspend(AWAIT_MS);
    gone &= watchdog_thread_suspend(AWAIT_MS);
    return gone ? ONE_THREAD_GONE : ONE_THREAD_STAYS;
}

void one_thread_end(enum one_thread was, bool sandboxed)
{
    if (was == ONE_THREAD_NOT_OURS)
        return;
    if (sandboxed) {
        watchdog_thread_ban();
        region_limits_are_final();
    }
    watchdog_thread_resume();
    // Where a filter is in force, its hold stays.
    if (!sandboxed)
        mfile_resume();
}

bool one_thread_prctl(int option, unsigned long argument)
{
    switch (option) {
    case PR_SET_KEEPCAPS:
    case PR_SET_SECUREBITS:
    case PR_CAPBSET_DROP:
    case PR_SET_NO_NEW_PRIVS:
    case PR_SET_SECCOMP:
    case PR_SET_SPECULATION_CTRL:
        return true;
    case PR_CAP_AMBIENT:
        return argument != PR_CAP_AMBIENT_IS_SET;
    default:
        return false;
    }
}
