// Eight threads allocate without pause while the process forks 40 times. Each child finds whatever
// state the fork caught, and must be able to allocate, free its parent's blocks, start threads and
// fork again. A lock left held shows as a child that never ends.

#include "tests/preload/victim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 8, FORKS = 40, BLOCKS = 32 };
static atomic_bool enough;
static void *inherited[COUNT(victim_sizes)];

static void churn(uint64_t state, int steps)
{
    void *p[BLOCKS] = {NULL};
    size_t size[BLOCKS] = {0};
    for (int i = 0; i < steps && !atomic_load_explicit(&enough, memory_order_relaxed); i++) {
        size_t at = victim_random(&state) % BLOCKS;
        size_t n = size[at] < 256 ? size[at] : 256;
        CHECK(victim_intact(p[at], n, n, at), "block of %zu", size[at]);
        free(p[at]);
        // Now and then one so large that it bypasses the pools, now and then a small one.
        size[at] = victim_random(&state) % 32 ? victim_pooled_size(&state) >> (i % 8)
                                              : victim_random(&state) % (4 * MIB);
        p[at] = malloc(size[at]);
        n = size[at] < 256 ? size[at] : 256;
        victim_fill(p[at], n, at);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(p[i]);
}

static void *work(void *arg)
{
    churn((uintptr_t)arg + 1, 1 << 30);
    return NULL;
}

static void *child_work(void *arg)
{
    churn((uintptr_t)arg + 100, 50);
    return NULL;
}

static void child(int n)
{
    churn((uint64_t)n + 1000, 50);
    for (size_t i = 0; i < COUNT(inherited); i++) {
        CHECK(victim_intact(inherited[i], victim_sizes[i], victim_sizes[i], i), "inherited %zu",
              victim_sizes[i]);
        inherited[i] = realloc(inherited[i], 2 * victim_sizes[i]);
        free(inherited[i]);
    }
    pthread_t t[2];
    for (uintptr_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, child_work, (void *)i) == 0, "thread in a child");
    if (n % 8 == 0) {
        pid_t pid = fork();
        CHECK(pid >= 0, "fork in a child");
        if (pid == 0) {
            churn((uint64_t)n, 50);
            _exit(0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "grandchild: %x", status);
    }
    for (size_t i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
    // Half of them leave by exit, with all its handlers.
    n % 2 ? _exit(0) : exit(0);
}

int main(void)
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < COUNT(inherited); i++) {
        inherited[i] = malloc(victim_sizes[i]);
        victim_fill(inherited[i], victim_sizes[i], i);
    }
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)i) == 0, "thread");
    for (int n = 0; n < FORKS; n++) {
        pid_t pid = fork();
        CHECK(pid >= 0, "fork %d: %s", n, strerror(errno));
        if (pid == 0) {
            // A child that hangs ends itself, so that the storm says which one it was.
            alarm(20);
            child(n);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child %d: status %x", n, status);
    }
    atomic_store(&enough, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    return 0;
}
