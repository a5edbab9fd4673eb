// culprit THREADS BYTES - holds 30 MiB rightly, and lets THREADS threads leak blocks of about BYTES
// bytes, written to, as fast as they can, until the kernel kills.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void *volatile last;

__attribute__((noinline)) void *hold_rightly(size_t size);
__attribute__((noinline)) void *leak_here(size_t size);

void *hold_rightly(size_t size)
{
    return last = memset(malloc(size), 1, size);
}

void *leak_here(size_t size)
{
    return last = memset(malloc(size), 1, size);
}

static void *leak(void *arg)
{
    size_t size = (size_t)arg;

    for (unsigned i = 0;; i++)
        leak_here(size - size / 4 * (i % 3) / 2);
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc > 2 ? atoi(argv[1]) : 1;
    size_t size = argc > 2 ? (size_t)atol(argv[2]) : 10000;
    pthread_t t;

    for (int i = 0; i < 3000; i++)
        hold_rightly(10 << 10);
    while (--threads > 0)
        pthread_create(&t, NULL, leak, (void *)size);
    leak((void *)size);
    return 0;
}
