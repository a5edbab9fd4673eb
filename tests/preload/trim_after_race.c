// trim_after_race LOOPS: in each new process sixteen threads make the first pooled requests at once
// and free them again. Blocks that were handed out before the pools stood lie in jemalloc's caches,
// where malloc_trim(0) cannot reach them while their threads sleep.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 16, BLOCKS = 100 };
static atomic_int ready;
static pthread_barrier_t freed, finished;

static void *hoard(void *arg)
{
    void *p[BLOCKS];
    atomic_fetch_add(&ready, 1);
    while (atomic_load(&ready) < THREADS)
        ;
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = KIB * (1 + i % 32);
        p[i] = malloc(size);
        CHECK(p[i], "block %zu", i);
        memset(p[i], 1, size);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(p[i]);
    pthread_barrier_wait(&freed);
    pthread_barrier_wait(&finished);
    return arg;
}

static int one(void)
{
    pthread_t t[THREADS];
    pthread_barrier_init(&freed, NULL, THREADS + 1);
    pthread_barrier_init(&finished, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, hoard, NULL) == 0, "thread %zu", i);
    pthread_barrier_wait(&freed);
    malloc_trim(0);
    size_t after = victim_resident_bytes();
    // 24 MiB were freed; a process with seventeen threads has 9 without them.
    CHECK(after < 14 * MIB, "resident after the trim: %zu K", after / KIB);
    pthread_barrier_wait(&finished);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 1)
        return one();
    for (int i = 0; i < atoi(argv[1]); i++) {
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
