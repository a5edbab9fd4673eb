// A library's fork handlers allocate and free, before and after the fork, on both sides.

#include "tests/preload/victim.h"

#include <pthread.h>
#include <sys/wait.h>

static void *held;
static int calls;

static void prepare(void)
{
    calls++;
    for (size_t i = 0; i < COUNT(victim_sizes); i++)
        free(malloc(victim_sizes[i]));
    held = malloc(5000);
    victim_fill(held, 5000, 5);
}

static void after(void)
{
    calls++;
    CHECK(victim_intact(held, 5000, 5000, 5), "a block from before the fork");
    held = realloc(held, 100000);
    free(held);
    for (size_t i = 0; i < COUNT(victim_sizes); i++)
        free(calloc(1, victim_sizes[i]));
}

int main(void)
{
    CHECK(pthread_atfork(prepare, after, after) == 0, "pthread_atfork");
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0, "fork");
        if (pid == 0)
            exit(calls == 2 * i + 2 ? 0 : 4);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child %d: status %x", i, status);
    }
    return 0;
}
