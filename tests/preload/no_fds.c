// Allocates, trims and starts threads with no descriptor to be had.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>

static void *work(void *arg)
{
    uint64_t state = (uintptr_t)arg + 1;
    for (int i = 0; i < 2000; i++) {
        size_t size = victim_pooled_size(&state);
        char *p = calloc(1, size);
        CHECK(p && p[0] == 0 && p[size - 1] == 0, "%zu bytes", size);
        memset(p, 1, size);
        free(p);
    }
    return NULL;
}

int main(void)
{
    struct rlimit none = {3, 3};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0, "setrlimit");
    static void *p[64];
    for (size_t i = 0; i < COUNT(p); i++) {
        p[i] = malloc(MIB);
        memset(p[i], 1, MIB);
    }
    pthread_t t[4];
    for (uintptr_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)i) == 0, "thread");
    for (size_t i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < COUNT(p); i++)
        free(p[i]);
    malloc_trim(0);
    usleep(300000);
    work(NULL);
    return 0;
}
