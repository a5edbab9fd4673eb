#include "pool/thread_cache/stale_classes.h"

#include "pool/region/region.h"
#include "pool/thread_cache/thread_cache.h"
#include "pool/thread_cache/transfer_cache.h"

static _Atomic uint64_t taken[SIZE_CLASS_END]; // blocks, by the last call

bool stale_classes_find(_Atomic uint64_t warmed[SIZE_CLASS_END], bool left[SIZE_CLASS_END])
{
    struct cache_count lists[SIZE_CLASS_END];
    bool any = false;

    cache_count(lists);
    for (unsigned class = 1; class < SIZE_CLASS_END; ++class) {
        uint64_t now = lists[class].mallocs + region_created(class) -
                       atomic_load_explicit(&warmed[class], memory_order_relaxed);
        uint64_t before = atomic_exchange_explicit(&taken[class], now, memory_order_relaxed);
        uint64_t free_blocks = lists[class].free_blocks + transfer_count(class);
        left[class] =
            now && now == before && free_blocks * size_class_bytes(class) >= LEFT_MIN_BYTES;
        any |= left[class];
    }
    return any;
}
