// Forks while another thread makes the process's first requests, and with them sets up what serves
// them: the child can have it too, and waits for nobody who is not there. Runs itself many times.

#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#include "shim/tidepool.h"
#include "victim.h"

enum { RUNS = 100, STALL_MS = 1500 };

static _Atomic int begun;

static void *first_requests(void *arg)
{
    (void)arg;
    atomic_store(&begun, 1);
    for (int i = 0; i < 20; i++) {
        free(malloc(64 * KIB));
        malloc_trim(0);
    }
    return NULL;
}

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int child(void)
{
    struct tidepool_bucket b[16];
    long start = now_ms();
    uint64_t served = 0;

    for (int i = 0; i < 10; i++)
        free(malloc(64 * KIB));
    malloc_trim(0);
    CHECK(now_ms() - start < STALL_MS, "the child waited %ld ms", now_ms() - start);
    unsigned n = tidepool_stats(b, COUNT(b));
    for (unsigned i = 0; i < n && i < COUNT(b); i++)
        served += b[i].created + b[i].reused;
    CHECK(served >= 10, "%u buckets served %d requests", n, (int)served);
    return 0;
}

static int once(int spins)
{
    pthread_t t;
    int status;

    CHECK(pthread_create(&t, NULL, first_requests, NULL) == 0, "thread");
    while (!atomic_load(&begun))
        ;
    for (volatile int i = 0; i < spins; i++)
        ;
    pid_t pid = fork();
    if (pid == 0)
        _exit(child());
    CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
    pthread_join(t, NULL);
    return status != 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return once(atoi(argv[1]));
    for (int i = 0; i < RUNS; i++) {
        char spins[16];
        char *words[] = {argv[0], spins, NULL};
        int status;
        pid_t pid;

        snprintf(spins, sizeof spins, "%d", i * 500);
        CHECK(posix_spawn(&pid, argv[0], NULL, NULL, words, environ) == 0, "spawn");
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "run %d ended with %d", i, status);
    }
    return 0;
}
