// The first thread leaves by pthread_exit(), and the process ends with the last of the others, by
// exit() and with its own descriptors.
//
//   main_leaves exit|thrd|return    after the others have; `return`: by main's, for comparison
//   main_leaves killed              by SIGTERM, while one goes on
//   main_leaves cancelled           as the first, which another thread cancels
//   main_leaves forked              a child's first thread is the one that forked, and returns

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <threads.h>

#include "victim.h"

static bool killed;
static pthread_barrier_t grown;

// What stdio still has is written now, to whatever is 1.
static void at_exit(void)
{
    struct stat st;

    CHECK(fstat(STDOUT_FILENO, &st) == 0 && fstat(STDIN_FILENO, &st) == 0, "no descriptors");
    if (killed)
        _exit(9);
}

// Enough for the allocator to have a thread by then.
static void *grow(void *arg)
{
    static char *kept[2][40];
    unsigned i = (unsigned)(uintptr_t)arg;

    for (size_t n = 0; n < COUNT(kept[0]); n++) {
        kept[i][n] = malloc(MIB);
        memset(kept[i][n], 1, MIB);
    }
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED, "mmap");
    pthread_barrier_wait(&grown);
    usleep(i ? 300000 : 50000);
    if (killed && i) {
        kill(getpid(), SIGTERM);
        sleep(20);
    }
    return NULL;
}

static void *cancel(void *first)
{
    CHECK(pthread_cancel(*(pthread_t *)first) == 0, "cancel");
    return NULL;
}

static void *fork_and_leave(void *unused)
{
    pid_t child = fork();
    int status;

    CHECK(child >= 0, "fork");
    if (child) {
        CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ends: %x", status);
        return unused;
    }
    pthread_barrier_init(&grown, NULL, 1);
    grow(NULL);
    usleep(100000);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    pthread_t t[2];

    killed = strcmp(mode, "killed") == 0;
    atexit(at_exit);
    if (strcmp(mode, "forked") == 0) {
        CHECK(pthread_create(&t[0], NULL, fork_and_leave, NULL) == 0, "thread");
        return pthread_join(t[0], NULL);
    }
    pthread_barrier_init(&grown, NULL, 3);
    for (uintptr_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, grow, (void *)i) == 0, "thread");
    pthread_barrier_wait(&grown);
    // Until its thread has begun.
    usleep(100000);
    if (strcmp(mode, "return") == 0)
        return 0;
    if (strcmp(mode, "thrd") == 0)
        thrd_exit(0);
    if (strcmp(mode, "cancelled") == 0) {
        pthread_t self = pthread_self();
        CHECK(pthread_create(&t[0], NULL, cancel, &self) == 0, "thread");
        for (;;)
            pause();
    }
    pthread_exit(NULL);
}
