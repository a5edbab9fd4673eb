#include "shim/own_thread/first_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mfile/mfile.h"
#include "pressure/watchdog_thread.h"
#include "shim/thread.h"

// Runs in the thread that leaves, before libc counts it out.
static void end_ours(void *unused)
{
    (void)unused;
    if (syscall(SYS_gettid) != getpid())
        return;
    mfile_suspend(THREAD_AWAIT_MS);
    watchdog_thread_end();
}

void first_thread_watch(void)
{
    static pthread_key_t key;
    static bool has_key;
    int saved = errno;

    if (!has_key)
        has_key = pthread_key_create(&key, end_ours) == 0;
    if (has_key)
        pthread_setspecific(key, &key);
    errno = saved;
}
