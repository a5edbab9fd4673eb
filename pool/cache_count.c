// cache_count - what all threads' lists counted, read while they run.
#include <sched.h>

#include "pool/cache_inside.h"

// What a list counts, read while its owner runs. Where a list is being exchanged the look is
// repeated, for that takes some ns; but not for ever, as its owner may have lost its processor
// there. Then the last count has to do: half an exchange may add up to anything.
static void count_list(struct cache *t, unsigned class, struct cache_count *counted)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint64_t popped, pushed, moved_out, moved_in;
    uint32_t version, spare;
    bool fits;
    int tries = 100;

    do {
        version = cache_load32(&l->version);
        if (version & 1)
            sched_yield();
        // In this order: what was popped before is at most what was pushed after.
        popped = cache_load(&b->limit) - cache_load32(&b->capacity);
        pushed = cache_load(&b->pushed);
        moved_out = cache_load(&l->moved_out);
        moved_in = cache_load(&l->moved_in);
        spare = cache_load32(&b->spare_count);
        fits = !(version & 1) && cache_load32(&l->version) == version;
    } while (!fits && --tries);
    if (fits && popped - moved_out != cache_load(&l->counted_mallocs))
        cache_store(&l->counted_mallocs, popped - moved_out);
    if (fits && pushed - moved_in != cache_load(&l->counted_frees))
        cache_store(&l->counted_frees, pushed - moved_in);
    spare += (uint32_t)(pushed > popped ? pushed - popped : 0);
    if (fits && spare != cache_load32(&l->counted_free))
        cache_store32(&l->counted_free, spare);
    counted->mallocs += cache_load(&l->counted_mallocs);
    counted->frees += cache_load(&l->counted_frees);
    counted->free_blocks += cache_load32(&l->counted_free);
}

void cache_count(struct cache_count counted[SIZE_CLASS_END])
{
    for (unsigned class = 0; class < SIZE_CLASS_END; ++class)
        counted[class] = (struct cache_count){0};
    for (struct cache *t = cache_registry.all; t; t = t->next)
        for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
            count_list(t, class, &counted[class]);
}
