// frees_without_room never|refused - a thread frees small blocks of another while the process has
// no address space left. It has made no request, or one that was refused. errno stays.

#include "tests/preload/victim.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

enum { BLOCKS = 20000, SIZE = 200 };

static void *block[BLOCKS];
static pthread_barrier_t filled, full;
static bool asks;

static void *free_all(void *arg)
{
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&full);
    if (asks) {
        void *volatile refused = malloc(1);
        CHECK(!refused, "there is room");
    }
    errno = 0;
    for (int i = 0; i < BLOCKS; i++) {
        free(block[i]);
        CHECK(errno == 0, "free %d: %s", i, strerror(errno));
    }
    return arg;
}

static size_t address_space(void)
{
    char text[64] = "";
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f && fgets(text, sizeof text, f), "statm");
    fclose(f);
    return strtoul(text, NULL, 10) * 4096;
}

int main(int argc, char **argv)
{
    pthread_t t;

    asks = argc == 2 && strcmp(argv[1], "refused") == 0;
    pthread_barrier_init(&filled, NULL, 2);
    pthread_barrier_init(&full, NULL, 2);
    for (int i = 0; i < BLOCKS; i++)
        block[i] = malloc(SIZE);
    CHECK(pthread_create(&t, NULL, free_all, NULL) == 0, "thread");
    pthread_barrier_wait(&filled);
    struct rlimit all = {.rlim_cur = address_space(), .rlim_max = RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &all) == 0, "setrlimit");
    pthread_barrier_wait(&full);
    pthread_join(t, NULL);
    return 0;
}
