#include "shim/own_thread/raw_fork.h"

#include <errno.h>
#include <linux/sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "pool/common/pages.h"
#include "pool/jemalloc_private/je_fork.h"
#include "pool/pool.h"
#include "pressure/watchdog_thread.h"

// A reclaim of some GiB takes as long; a file that is written to a server may take for ever.
#define HOLD_MS 2000

static volatile unsigned char always_known = RAW_FORK_KNOWN;
volatile unsigned char *raw_fork_state = &always_known;
static bool (*forks_under_way)(void);
static void (*settle_child)(void);

// In the middle of jemalloc, perhaps, which is about to wait.
static void on_wait(void)
{
    if (*raw_fork_state == RAW_FORK_UNSEEN)
        raw_fork_check();
}

void raw_fork_set_handlers(bool (*under_way)(void), void (*settle)(void))
{
    forks_under_way = under_way;
    settle_child = settle;
}

void raw_fork_init(void)
{
    const size_t page = 4096;
    int saved = errno;
    void *at = pages_mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at != MAP_FAILED && pages_madvise(at, page, MADV_WIPEONFORK) == 0) {
        *(unsigned char *)at = RAW_FORK_KNOWN;
        raw_fork_state = at;
        je_fork_on_wait = on_wait;
    } else if (at != MAP_FAILED) {
        pages_munmap(at, page);
    }
    errno = saved;
}

void raw_fork_known(void)
{
    *raw_fork_state = RAW_FORK_KNOWN;
}

// First the locks, which may be needed to do anything else; the rest where this thread is in no
// call of jemalloc's.
void raw_fork_check(void)
{
    int saved = errno;

    // The child of a fork() whose handlers are still to come.
    if (forks_under_way && forks_under_way())
        return;
    if (*raw_fork_state == RAW_FORK_UNSEEN) {
        *raw_fork_state = RAW_FORK_UNSETTLED;
        pool_forget_threads();
    }
    if (!pool_entered()) {
        *raw_fork_state = RAW_FORK_KNOWN;
        if (settle_child)
            settle_child();
    }
    errno = saved;
}

bool raw_fork_begin(void)
{
    int saved = errno;
    bool held = watchdog_thread_hold(HOLD_MS);

    errno = saved;
    return held;
}

void raw_fork_parent(bool held)
{
    int saved = errno;

    if (held)
        watchdog_thread_release();
    errno = saved;
}

void raw_fork_child(void)
{
    *raw_fork_state = RAW_FORK_UNSEEN;
    raw_fork_check();
}

bool raw_fork_is_made(uint64_t flags)
{
    return !(flags & (CLONE_VM | CLONE_SETTLS));
}

bool raw_fork_is(long number, long a, long b)
{
    const struct clone_args *args = (const struct clone_args *)a;

    switch (number) {
#ifdef SYS_fork
    case SYS_fork:
        return true;
#endif
    case SYS_clone:
        return raw_fork_is_made((uint64_t)a) && !b;
    case SYS_clone3:
        return args && b >= CLONE_ARGS_SIZE_VER0 && raw_fork_is_made(args->flags) && !args->stack;
    default:
        return false;
    }
}
