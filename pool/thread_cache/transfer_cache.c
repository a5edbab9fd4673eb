#include "pool/thread_cache/transfer_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/common/pages.h"
#include "pool/common/size_class.h"
#include "shim/base.h"

// As many as most rings ever hold need no mapping.
#define FEW 128u
#define FIRST_MAPPED 1024u // a page

struct ring {
    _Alignas(64) pthread_mutex_t lock;
    uint32_t *unit;       // [bottom .. top-1], modulo the length
    uint32_t length;      // a power of two
    uint32_t bottom, top; // counts
    uint32_t lowest;      // the smallest top - bottom since the last transfer_idle
    _Atomic uint64_t blocks;
};

static struct ring rings[SIZE_CLASS_END] = {
    [0 ... SIZE_CLASS_END - 1] = {.lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP},
};
static uint32_t few[SIZE_CLASS_END][FEW];

static uint32_t held(const struct ring *s)
{
    return s->top - s->bottom;
}

static void note_count(struct ring *s)
{
    atomic_store_explicit(&s->blocks, held(s), memory_order_relaxed);
}

// How many of `count` come before the ring's end.
static uint32_t before_end(const struct ring *s, uint32_t from, uint32_t count)
{
    uint32_t left = s->length - (from & (s->length - 1));

    return count < left ? count : left;
}

static void read_ring(const struct ring *s, uint32_t from, uint32_t *units, uint32_t count)
{
    uint32_t n = before_end(s, from, count);

    memcpy(units, s->unit + (from & (s->length - 1)), n * sizeof *units);
    memcpy(units + n, s->unit, (count - n) * sizeof *units);
}

static void write_ring(struct ring *s, uint32_t from, const uint32_t *units, uint32_t count)
{
    uint32_t n = before_end(s, from, count);

    memcpy(s->unit + (from & (s->length - 1)), units, n * sizeof *units);
    memcpy(s->unit, units + n, (count - n) * sizeof *units);
}

static void unmap(struct ring *s)
{
    if (s->length > FEW)
        pages_munmap(s->unit, s->length * sizeof *s->unit);
}

static uint32_t *map(uint32_t length)
{
    int saved = errno;
    void *at = pages_mmap(NULL, length * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    errno = saved;
    return at == MAP_FAILED ? NULL : at;
}

static bool make_room(struct ring *s, uint32_t count)
{
    uint32_t length = FIRST_MAPPED, *unit;

    if (!s->length) {
        s->unit = few[s - rings];
        s->length = FEW;
    }
    if (s->length - held(s) >= count)
        return true;
    while (length && length < (uint64_t)held(s) + count)
        length *= 2;
    unit = length ? map(length) : NULL;
    if (!unit)
        return false;
    read_ring(s, s->bottom, unit, held(s));
    unmap(s);
    s->unit = unit;
    s->length = length;
    s->top = held(s);
    s->bottom = 0;
    return true;
}

bool transfer_put(unsigned class, const uint32_t *units, uint32_t count)
{
    struct ring *s = &rings[class];
    bool put;

    pthread_mutex_lock(&s->lock);
    put = s->length - held(s) >= count || make_room(s, count);
    if (put) {
        write_ring(s, s->top, units, count);
        s->top += count;
        note_count(s);
    }
    pthread_mutex_unlock(&s->lock);
    return put;
}

static uint32_t take(unsigned class, uint32_t *units, uint32_t max, bool oldest)
{
    struct ring *s = &rings[class];
    uint32_t count, from;

    // Most misses find an empty ring; the check without the lock may be late, never wrong for good.
    if (atomic_load_explicit(&s->blocks, memory_order_relaxed) == 0)
        return 0;
    pthread_mutex_lock(&s->lock);
    count = held(s) < max ? held(s) : max;
    from = oldest ? s->bottom : s->top - count;
    read_ring(s, from, units, count);
    if (oldest)
        s->bottom += count;
    else
        s->top -= count;
    if (held(s) < s->lowest)
        s->lowest = held(s);
    note_count(s);
    pthread_mutex_unlock(&s->lock);
    return count;
}

uint32_t transfer_take(unsigned class, uint32_t *units, uint32_t max)
{
    return take(class, units, max, false);
}

uint32_t transfer_take_oldest(unsigned class, uint32_t *units, uint32_t max)
{
    return take(class, units, max, true);
}

uint64_t transfer_count(unsigned class)
{
    return atomic_load_explicit(&rings[class].blocks, memory_order_relaxed);
}

uint64_t transfer_idle(unsigned class)
{
    struct ring *s = &rings[class];
    uint32_t idle;

    pthread_mutex_lock(&s->lock);
    idle = s->lowest;
    s->lowest = held(s);
    pthread_mutex_unlock(&s->lock);
    return idle;
}

void transfer_tidy(void)
{
    for (struct ring *s = rings; s < rings + SIZE_CLASS_END; ++s) {
        pthread_mutex_lock(&s->lock);
        if (s->length > FEW && !held(s)) {
            unmap(s);
            s->length = 0;
        }
        pthread_mutex_unlock(&s->lock);
    }
}

void transfer_lock_all(void)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        pthread_mutex_lock(&rings[class].lock);
}

void transfer_forget_threads(bool bringing)
{
    for (struct ring *s = rings; s < rings + SIZE_CLASS_END; ++s) {
        s->lock = (pthread_mutex_t)PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
        if (bringing)
            s->bottom = s->top;
        note_count(s);
    }
}

void transfer_unlock_all(void)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
        pthread_mutex_unlock(&rings[class].lock);
}
