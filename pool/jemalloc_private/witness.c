#include "pool/jemalloc_private/witness.h"

_Atomic pthread_t witness_thread;
struct witness witness;

void witness_saw(enum witness_wrap wrap, const struct edata *extent)
{
    if (extent == witness.extent)
        witness.seen |= wrap;
}

// The first is the first arena's, of dirty pages.
void witness_saw_decay(struct decay *decay)
{
    if (witness.decay)
        return;
    witness.decay = decay;
    if (!decay->purging)
        witness.seen |= WITNESS_LOCKED;
}

void witness_saw_event(struct tsd *tsd, const struct te_ctx *ctx)
{
    witness.tsd = tsd;
    if (ctx->current != (ctx->is_alloc ? witness.allocated : witness.deallocated))
        witness.seen |= WITNESS_MISTAKEN;
}

void witness_saw_evict(void)
{
    if (witness.decay && witness.decay->purging)
        witness.seen |= WITNESS_EVICTED;
}
