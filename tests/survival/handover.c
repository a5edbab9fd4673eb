// handover LIVE_MIB [TRAFFIC] - one thread allocates, another frees; TRAFFIC times the peak goes
// through.
//
// The queue holds the peak when it is full. The consumer starts when it is nearly full and stops
// when it is half empty, so that the two run at the same time without waking each other for each
// block.

#include <pthread.h>
#include <stdlib.h>

#include "load.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct block_list queue;
static bool full, half_empty, finished;
static size_t peak_bytes;

static void put(struct block *b)
{
    pthread_mutex_lock(&lock);
    load_push(&queue, b);
    pthread_mutex_unlock(&lock);
}

static struct block *get(void)
{
    pthread_mutex_lock(&lock);
    struct block *b = load_pop(&queue);
    pthread_mutex_unlock(&lock);
    return b;
}

static void set(bool *flag)
{
    pthread_mutex_lock(&lock);
    *flag = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

// Waits for `flag` or the end of production; takes the flag back.
static void await(bool *flag)
{
    pthread_mutex_lock(&lock);
    while (!*flag && !finished)
        pthread_cond_wait(&changed, &lock);
    *flag = false;
    pthread_mutex_unlock(&lock);
}

static void *consume(void *unused)
{
    (void)unused;
    for (;;) {
        await(&full);
        for (struct block *b; (b = get());) {
            load_give(b);
            if (load_live() < peak_bytes / 2 && !finished)
                break;
        }
        set(&half_empty);
        if (finished && !queue.count)
            return NULL;
    }
}

int main(int argc, char **argv)
{
    peak_bytes = load_start(argc, argv);
    size_t traffic_bytes = peak_bytes * (argc > 2 ? strtoull(argv[2], NULL, 10) : 10);
    uint64_t seed = 11;
    pthread_t consumer;
    if (pthread_create(&consumer, NULL, consume, NULL))
        load_die("no thread");
    for (size_t made = 0; made < traffic_bytes;) {
        size_t size = load_random_size(&seed, KIB, 256 * KIB);
        while (load_live() + size > peak_bytes) {
            set(&full);
            await(&half_empty);
        }
        put(load_take(size));
        made += size;
    }
    set(&finished);
    pthread_join(consumer, NULL);
    load_report();
}
