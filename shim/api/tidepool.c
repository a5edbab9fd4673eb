// tidepool - tidepool.h on top of the pools.
#define TIDEPOOL_API __attribute__((visibility("default")))
#include "shim/api/tidepool.h"

#include "shim/heap.h"
#include "shim/lowmem/reclaim.h"

const char *tidepool_version(void)
{
    return TIDEPOOL_VERSION;
}

void *tidepool_acquire(size_t size, size_t *usable)
{
    void *ptr = heap_alloc(size);

    if (ptr && usable)
        *usable = heap_usable_size(ptr);
    return ptr;
}

void tidepool_release(void *buffer)
{
    heap_free(buffer);
}

uint64_t tidepool_drain(void)
{
    return pool_drain_self();
}

uint64_t tidepool_reclaim(uint64_t keep)
{
    return reclaim(keep);
}

static struct tidepool_bucket publish(const struct pool_bucket_stats *s)
{
    return (struct tidepool_bucket){
        .bound = s->bound_bytes,
        .limit = s->limit_is_bytes ? UINT64_MAX : s->limit,
        .limit_bytes = s->limit_is_bytes ? s->limit : 0,
        .created = s->created,
        .reused = s->reused,
        .freed = s->freed,
        .live = s->live_blocks,
        .live_bytes = s->live_bytes,
        .free = s->free_blocks,
        .free_bytes = s->free_bytes,
    };
}

unsigned tidepool_stats(struct tidepool_bucket *bucket, unsigned count)
{
    struct pool_bucket_stats stats[QUOTA_BUCKETS_MAX];
    unsigned buckets = pool_stats(stats);

    for (unsigned b = 0; b < buckets && b < count; b++)
        bucket[b] = publish(&stats[b]);
    return buckets;
}
