// Forks while other threads give memory back without pause. Each child can give back what it frees,
// too: a purge that its parent had under way is not under way in it for ever.

#include "victim.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

enum { PURGERS = 3, CHILDREN = 60, BLOCKS = 400 };

static void churn(char **block, size_t bytes)
{
    for (int i = 0; i < BLOCKS; i++) {
        block[i] = malloc(bytes);
        CHECK(block[i], "block %d of %zu", i, bytes);
        memset(block[i], 1, bytes);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
}

static void *purge(void *block)
{
    for (;;) {
        churn(block, 100000);
        malloc_trim(0);
    }
    return NULL;
}

static long resident_pages(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f && fscanf(f, "%*d %ld", &pages) == 1, "statm");
    fclose(f);
    return pages;
}

// More than what the parent's threads had in use at the most.
static void child(int n)
{
    static char *block[BLOCKS];
    long full, after;

    malloc_trim(0);
    for (int i = 0; i < BLOCKS; i++)
        memset(block[i] = malloc(200000), 1, 200000);
    full = resident_pages();
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    malloc_trim(0);
    after = resident_pages();
    CHECK(full - after > 15000, "child %d: %ld pages, %ld after it freed 19500", n, full, after);
    _exit(0);
}

int main(void)
{
    static char *block[PURGERS][BLOCKS];
    pthread_t t;
    int status;

    for (int i = 0; i < PURGERS; i++)
        CHECK(pthread_create(&t, NULL, purge, block[i]) == 0, "thread");
    for (int n = 0; n < CHILDREN; n++) {
        usleep(2000 + 100 * (useconds_t)n);
        pid_t pid = fork();
        CHECK(pid >= 0, "fork %d: %s", n, strerror(errno));
        if (pid == 0)
            child(n);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child %d: status %x", n, status);
    }
    _exit(0);
}
