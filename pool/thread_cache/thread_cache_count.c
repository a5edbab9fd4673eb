// thread_cache_count - what all threads' lists counted, read while they run.
#include <sched.h>

#include "pool/thread_cache/thread_cache_inside.h"

static bool is_busy(struct cache *t)
{
    return atomic_load_explicit(&t->busy, memory_order_acquire);
}

// A list's counts, read while its owner runs. In the middle of a change, which takes some ns, they
// are read again; but not for ever, because the owner may have lost its processor there. Between a
// count and its block there is one free too many, so one less is counted then; later frees make up
// for it. Half an exchange may add up to anything: then the last count has to do.
static void count_list(struct cache *t, unsigned class, int *tries, struct cache_count *counted)
{
    struct bin *b = &t->bin[class];
    struct bin_ledger *l = &t->ledger[class];
    uint64_t requests, mallocs, frees;
    uint32_t version, held;
    bool fits, alone;

    do {
        version = cache_load32(&l->version);
        if (version & 1)
            sched_yield();
        alone = !is_busy(t);
        requests = cache_load(&b->requests);
        held = cache_list_length(b);
        mallocs = requests - cache_load(&l->start);
        frees = mallocs + held - cache_load(&l->moved);
        // He may have come and gone meanwhile.
        alone = alone && !is_busy(t);
        fits = !(version & 1) && cache_load32(&l->version) == version &&
               cache_load(&b->requests) == requests && cache_list_length(b) == held;
    } while (!(fits && alone) && (*tries)-- > 0);
    frees -= !alone;
    if (fits && mallocs != cache_load(&l->counted_mallocs))
        cache_store(&l->counted_mallocs, mallocs);
    if (fits && (int64_t)(frees - cache_load(&l->counted_frees)) > 0)
        cache_store(&l->counted_frees, frees);
    if (fits && held != cache_load32(&l->counted_free))
        cache_store32(&l->counted_free, held);
    counted->mallocs += cache_load(&l->counted_mallocs);
    counted->frees += cache_load(&l->counted_frees);
    counted->free_blocks += cache_load32(&l->counted_free);
}

void cache_count(struct cache_count counted[SIZE_CLASS_END])
{
    for (unsigned class = 0; class < SIZE_CLASS_END; ++class)
        counted[class] = (struct cache_count){0};
    for (struct cache *t = cache_registry.all; t; t = t->next) {
        int tries = 100;
        for (unsigned class = 1; class < SIZE_CLASS_END; ++class)
            count_list(t, class, &tries, &counted[class]);
    }
}
