// racing_start LOOPS: in each new process, eight threads make their first pooled requests at once,
// while what serves them is still being set up by one of them.

#include "tests/preload/victim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 8 };
static atomic_int ready;

static void *first_requests(void *arg)
{
    void *p[40];
    atomic_fetch_add(&ready, 1);
    while (atomic_load(&ready) < THREADS)
        ;
    for (size_t i = 0; i < COUNT(p); i++) {
        p[i] = malloc(1400 * (i + 1));
        CHECK(p[i], "block %zu", i);
        victim_fill(p[i], 1400, i + (uintptr_t)arg);
    }
    for (size_t i = 0; i < COUNT(p); i++) {
        CHECK(victim_intact(p[i], 1400, 1400, i + (uintptr_t)arg), "block %zu", i);
        free(p[i]);
    }
    return NULL;
}

static int one(void)
{
    pthread_t t[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, first_requests, (void *)(i * 100)) == 0, "thread");
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 1)
        return one();
    for (int i = 0; i < atoi(argv[1]); i++) {
        // A new process each time, because only the first requests race.
        pid_t pid = vfork();
        if (pid == 0) {
            execl(argv[0], argv[0], (char *)NULL);
            _exit(127);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "start %d: status %x", i, status);
    }
    return 0;
}
