// idle LIVE_MIB [THREADS [FILL_MIB]] - threads that freed everything and sleep, while main grows.
//
// Each thread in turn fills FILL_MIB with blocks of 1 KiB to 1 MiB and frees them all; then it
// waits on a condition until the end, as a worker of a quiet server does. Only the allocator can
// get at what its cache keeps. The peak is main's: one thread's fill is far below it.

#include <pthread.h>
#include <stdlib.h>

#include "load.h"

enum { MAX_THREADS = 256, STACK_BYTES = 128 * 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static long turn;
static bool over;
static size_t fill_bytes;

static void fill_and_free(uint64_t seed)
{
    struct block_list blocks = {0};
    for (size_t filled = 0; filled < fill_bytes;) {
        struct block *b = load_take(load_random_size(&seed, KIB, MIB));
        filled += b->size;
        load_push(&blocks, b);
    }
    load_give_all(&blocks);
}

static void *worker(void *arg)
{
    long self = (long)arg;
    pthread_mutex_lock(&lock);
    while (turn != self)
        pthread_cond_wait(&turned, &lock);
    pthread_mutex_unlock(&lock);
    fill_and_free((uint64_t)self * 2654435761u + 1);
    pthread_mutex_lock(&lock);
    turn++;
    pthread_cond_broadcast(&turned);
    while (!over)
        pthread_cond_wait(&turned, &lock);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void grow(size_t peak_bytes)
{
    struct block_list blocks = {0};
    while (load_live() + 48 * KIB <= peak_bytes)
        load_push(&blocks, load_take(48 * KIB));
    load_give_all(&blocks);
}

int main(int argc, char **argv)
{
    size_t peak_bytes = load_start(argc, argv);
    long threads = argc > 2 ? atol(argv[2]) : 64;
    fill_bytes = !peak_bytes ? 0 : (argc > 3 ? strtoull(argv[3], NULL, 10) : 16) * MIB;
    pthread_t id[MAX_THREADS];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (threads > MAX_THREADS)
        load_die("too many threads");
    for (long i = 0; i < threads; i++)
        if (pthread_create(&id[i], &attr, worker, (void *)i))
            load_die("no thread");
    pthread_mutex_lock(&lock);
    while (turn != threads)
        pthread_cond_wait(&turned, &lock);
    pthread_mutex_unlock(&lock);
    grow(peak_bytes);
    load_report();
    pthread_mutex_lock(&lock);
    over = true;
    pthread_cond_broadcast(&turned);
    pthread_mutex_unlock(&lock);
    for (long i = 0; i < threads; i++)
        pthread_join(id[i], NULL);
}
