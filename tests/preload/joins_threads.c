// Threads are joined while the library's own are about to start again: libc frees a thread's blocks
// with its lock of stacks taken, and the start of a thread needs it.

#include "tests/preload/victim.h"

#include <pthread.h>

#define THREADS 60 // stacks of 8 MiB: libc keeps 40 MiB of them

static void *nothing(void *arg)
{
    return arg;
}

static void create_and_join(void)
{
    pthread_t thread[THREADS];
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)8 << 20);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], &attr, nothing, NULL) == 0, "thread %d", i);
    for (int i = 0; i < THREADS; i++) {
        // Ends the library's threads.
        CHECK(setegid(getegid()) == 0, "setegid");
        pthread_join(thread[i], NULL);
    }
}

int main(void)
{
    alarm(60);
    for (int i = 0; i < 100; i++)
        create_and_join();
    return 0;
}
