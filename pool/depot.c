#include "pool/depot.h"

#include <pthread.h>
#include <stdatomic.h>

#include "pool/size_class.h"
#include "shim/base.h"

// A power of two. All shelves together are 73 KB, of which a process that has had blocks of all
// classes keeps what it once touched; with 1024 batches that were 300 KB in the mean.
#define SHELF_BATCHES 128u

struct shelf {
    _Alignas(64) pthread_mutex_t lock;
    uint32_t bottom, top; // batch[bottom .. top-1], modulo the shelf's length
    uint32_t lowest;      // the smallest top - bottom since the last depot_idle_batches
    _Atomic uint64_t blocks;
    struct batch batch[SHELF_BATCHES];
};

static struct shelf shelves[SIZE_CLASS_END] = {
    [0 ... SIZE_CLASS_END - 1] = {.lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP},
};

static void add_blocks(struct shelf *s, int64_t count)
{
    atomic_store_explicit(&s->blocks,
                          atomic_load_explicit(&s->blocks, memory_order_relaxed) + (uint64_t)count,
                          memory_order_relaxed);
}

bool depot_put(unsigned class, struct batch batch)
{
    struct shelf *s = &shelves[class];
    bool put = false;

    ASSERT(batch.head && batch.count);
    pthread_mutex_lock(&s->lock);
    if (s->top - s->bottom < SHELF_BATCHES) {
        s->batch[s->top++ % SHELF_BATCHES] = batch;
        add_blocks(s, batch.count);
        put = true;
    }
    pthread_mutex_unlock(&s->lock);
    return put;
}

static struct batch get(unsigned class, bool oldest)
{
    struct shelf *s = &shelves[class];
    struct batch batch = {0, 0};

    // Most misses find an empty shelf; the look without the lock may be late, never wrong for good.
    if (atomic_load_explicit(&s->blocks, memory_order_relaxed) == 0)
        return batch;
    pthread_mutex_lock(&s->lock);
    if (s->top != s->bottom) {
        batch = s->batch[(oldest ? s->bottom++ : --s->top) % SHELF_BATCHES];
        add_blocks(s, -(int64_t)batch.count);
        if (s->top - s->bottom < s->lowest)
            s->lowest = s->top - s->bottom;
    }
    pthread_mutex_unlock(&s->lock);
    return batch;
}

struct batch depot_get(unsigned class)
{
    return get(class, false);
}

struct batch depot_get_oldest(unsigned class)
{
    return get(class, true);
}

uint64_t depot_count(unsigned class)
{
    return atomic_load_explicit(&shelves[class].blocks, memory_order_relaxed);
}

uint32_t depot_idle_batches(unsigned class)
{
    struct shelf *s = &shelves[class];
    uint32_t idle;

    pthread_mutex_lock(&s->lock);
    idle = s->lowest;
    s->lowest = s->top - s->bottom;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

void depot_lock_all(void)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        pthread_mutex_lock(&shelves[class].lock);
}

void depot_unlock_all(void)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        pthread_mutex_unlock(&shelves[class].lock);
}
