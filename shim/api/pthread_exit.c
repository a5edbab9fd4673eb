// pthread_exit - a program whose first thread leaves by pthread_exit() ends when its other threads
// have.
//
// libc ends the process with its last thread, and ours would be that for ever: alive, deaf to every
// signal but SIGKILL, and with no descriptor of the program's to flush a buffer to. So our threads
// end when the first one does. Growing threads go on evaluating; idle memory is no longer given
// back.
#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#include "mfile/mfile.h"
#include "pressure/watchdog_thread.h"
#include "shim/heap.h"
#include "shim/thread.h"

static void end_ours(void)
{
    if (syscall(SYS_gettid) != getpid())
        return;
    mfile_suspend(THREAD_AWAIT_MS);
    watchdog_thread_end();
}

HEAP_EXPORT void pthread_exit(void *value)
{
    void *symbol = dlsym(RTLD_NEXT, "pthread_exit");
    void (*next)(void *);

    static_assert(sizeof next == sizeof symbol, "POSIX: a function's address fits");
    __builtin_memcpy(&next, &symbol, sizeof next);
    end_ours();
    next(value);
    __builtin_unreachable();
}

// As libc's does, whose own would not come this way.
HEAP_EXPORT void thrd_exit(int value)
{
    pthread_exit((void *)(intptr_t)value);
}
