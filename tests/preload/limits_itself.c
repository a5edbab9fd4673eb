// Limits its own address space after the allocator has reserved some, and has what the limit
// allows.
//
//   limits_itself setrlimit|prlimit

#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "victim.h"

enum { LARGE = 3 << 20, LARGES = 100, POOLED = 60000, POOLEDS = 3000 };

static void *churn(void *arg)
{
    static char *large[LARGES], *pooled[POOLEDS];

    for (size_t i = 0; i < COUNT(pooled); i++) {
        pooled[i] = malloc(POOLED);
        CHECK(pooled[i], "pooled block %zu", i);
        victim_fill(pooled[i], POOLED, i);
    }
    for (size_t i = 0; i < COUNT(large); i++) {
        large[i] = malloc(LARGE);
        CHECK(large[i], "large block %zu", i);
        large[i][LARGE - 1] = 1;
    }
    for (size_t i = 0; i < COUNT(pooled); i++) {
        CHECK(victim_intact(pooled[i], POOLED, POOLED, i), "pooled block %zu", i);
        free(pooled[i]);
    }
    for (size_t i = 0; i < COUNT(large); i++)
        free(large[i]);
    malloc_trim(0);
    return arg;
}

static void limit(const char *how)
{
    struct rlimit to = {1 << 30, RLIM_INFINITY}, was, is;

    CHECK(getrlimit(RLIMIT_AS, &was) == 0, "getrlimit");
    if (strcmp(how, "prlimit") == 0)
        CHECK(prlimit(0, RLIMIT_AS, &to, &is) == 0 && is.rlim_cur == was.rlim_cur, "prlimit");
    else
        CHECK(setrlimit(RLIMIT_AS, &to) == 0, "setrlimit");
    CHECK(getrlimit(RLIMIT_AS, &is) == 0 && is.rlim_cur == to.rlim_cur, "not set");
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    char *before = malloc(POOLED);
    struct rlimit refused = {2, 1};
    pthread_t t;
    int status;

    victim_fill(before, POOLED, 7);
    CHECK(setrlimit(RLIMIT_CORE, &refused) == -1 && errno == EINVAL, "errno %d", errno);
    for (int round = 0; round < 2; round++) { // the second changes nothing
        limit(how);
        churn(NULL);
        CHECK(pthread_create(&t, NULL, churn, NULL) == 0, "thread");
        pthread_join(t, NULL);
        errno = 0;
        CHECK(!victim_hide(malloc((size_t)2 << 30)) && errno == ENOMEM, "beyond the limit");
        pid_t child = fork();
        if (child == 0) {
            churn(NULL);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0, "the child");
    }
    CHECK(victim_intact(before, POOLED, POOLED, 7), "the first block");
    free(before);
    return 0;
}
