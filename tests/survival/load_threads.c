// Fills of one kind, and threads that did one and sleep; see load.h.
#include "load.h"

#include <pthread.h>
#include <string.h>

enum { MAX_THREADS = 64 };

void load_in_threads(size_t threads, void *(*run)(void *))
{
    pthread_t id[MAX_THREADS];

    if (!threads || threads > MAX_THREADS)
        load_die("too many threads, or none");
    for (size_t i = 1; i < threads; i++)
        if (pthread_create(&id[i], NULL, run, (void *)i))
            load_die("no thread");
    run(NULL);
    for (size_t i = 1; i < threads; i++)
        pthread_join(id[i], NULL);
}

enum { STACK_BYTES = 128 * 1024, KEPT_BYTES = 512 };

struct load_kind load_kind(const char *name)
{
    if (!strcmp(name, "pooled"))
        return (struct load_kind){KIB, MIB};
    if (!strcmp(name, "small"))
        return (struct load_kind){32, KIB - 1};
    if (!strcmp(name, "large"))
        return (struct load_kind){MIB + 1, 8 * MIB};
    if (!strcmp(name, "buffers"))
        return (struct load_kind){KIB, 64 * KIB};
    load_die("kinds are pooled, small, large and buffers");
}

struct block_list load_fill(struct load_kind kind, size_t bytes, uint64_t seed)
{
    struct block_list blocks = {0};
    for (size_t filled = 0; filled < bytes;) {
        struct block *b = load_take(load_random_size(&seed, kind.min, kind.max));
        filled += b->size;
        load_push(&blocks, b);
    }
    return blocks;
}

static struct {
    struct load_kind kind;
    size_t share_bytes;
    void (*filled)(void);
    pthread_barrier_t step;
} shared;

static void *fill_and_sleep(void *arg)
{
    struct block_list blocks =
        load_fill(shared.kind, shared.share_bytes, (uintptr_t)arg * 2654435761u + 1);
    // What the thread keeps comes last, as a session's record does; it is enough to hold up an
    // allocator that only returns the end of a heap.
    load_take(KEPT_BYTES);
    if (pthread_barrier_wait(&shared.step) == PTHREAD_BARRIER_SERIAL_THREAD && shared.filled)
        shared.filled();
    pthread_barrier_wait(&shared.step);
    load_give_all(&blocks);
    pthread_barrier_wait(&shared.step);
    pthread_barrier_t never;
    pthread_barrier_init(&never, NULL, 2);
    pthread_barrier_wait(&never);
    return NULL;
}

void load_idle_threads(size_t threads, struct load_kind kind, size_t bytes, void (*filled)(void))
{
    shared.kind = kind;
    shared.share_bytes = bytes / threads;
    shared.filled = filled;
    pthread_barrier_init(&shared.step, NULL, (unsigned)threads + 1);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (size_t i = 0; i < threads; i++) {
        pthread_t id;
        if (pthread_create(&id, &attr, fill_and_sleep, (void *)(i + 1)))
            load_die("no thread");
    }
    for (int step = 0; step < 3; step++)
        if (pthread_barrier_wait(&shared.step) == PTHREAD_BARRIER_SERIAL_THREAD && !step && filled)
            filled();
}
