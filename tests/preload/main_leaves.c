// The first thread leaves by pthread_exit(), and the process ends with the last of the others, by
// exit() and with its own descriptors.
//
//   main_leaves exit|thrd|return    after the others have; `return`: by main's, for comparison
//   main_leaves killed              by SIGTERM, while one goes on

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    pthread_t t[2];

    killed = strcmp(mode, "killed") == 0;
    atexit(at_exit);
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
    pthread_exit(NULL);
}
