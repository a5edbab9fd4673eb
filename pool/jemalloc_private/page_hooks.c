#include "pool/jemalloc_private/page_hooks.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/common/marks.h"
#include "pool/common/pages.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/layouts.h"
#include "pool/jemalloc_private/tcache.h"
#include "pool/jemalloc_private/witness.h"
#include "shim/base.h"

// jemalloc's own, and the names under which its callers find ours: true is failure for all three.
void *__real_je_pages_map(void *addr, size_t size, size_t alignment, bool *commit);
void je_pages_unmap(void *addr, size_t size);
void je_pages_set_thp_state(void *addr, size_t size);
extern bool je_opt_retain;
bool __real_je_pages_commit(void *addr, size_t size);
bool __real_je_pages_decommit(void *addr, size_t size);
bool je_pages_purge_forced(void *addr, size_t size);
void *__wrap_je_pages_map(void *addr, size_t size, size_t alignment, bool *commit);
bool __wrap_je_pages_commit(void *addr, size_t size);
bool __wrap_je_pages_decommit(void *addr, size_t size);

// jemalloc's refill of a thread cache's list; only the result matters here.
void *__real_je_tcache_alloc_small_hard(struct tsdn *, struct arena *, struct tcache *,
                                        struct cache_bin *, unsigned index, bool *success);
void *__wrap_je_tcache_alloc_small_hard(struct tsdn *, struct arena *, struct tcache *,
                                        struct cache_bin *, unsigned index, bool *success);

struct edata *__real_je_ecache_evict(struct tsdn *, struct pac *, struct ehooks *, struct ecache *,
                                     size_t keep_pages);
struct edata *__wrap_je_ecache_evict(struct tsdn *, struct pac *, struct ehooks *, struct ecache *,
                                     size_t keep_pages);

// Used as they are. A split leaves the lead in place and returns the rest; the second puts free
// pages where they stay for reuse.
struct edata *je_extent_split_wrapper(struct tsdn *, struct pac *, struct ehooks *, struct edata *,
                                      size_t lead, size_t rest, bool locked);
void __real_je_ecache_dalloc(struct tsdn *, struct pac *, struct ehooks *, struct ecache *,
                             struct edata *);
void __wrap_je_ecache_dalloc(struct tsdn *, struct pac *, struct ehooks *, struct ecache *,
                             struct edata *);

bool __real_je_ecache_init(struct tsdn *, struct ecache *, int state, unsigned index,
                           bool delay_coalesce);
bool __wrap_je_ecache_init(struct tsdn *, struct ecache *, int state, unsigned index,
                           bool delay_coalesce);

struct edata *__real_je_ecache_alloc_grow(struct tsdn *, struct pac *, struct ehooks *,
                                          struct ecache *extents, struct edata *expand, size_t size,
                                          size_t alignment, bool zero, bool guarded);
struct edata *__wrap_je_ecache_alloc_grow(struct tsdn *, struct pac *, struct ehooks *,
                                          struct ecache *extents, struct edata *expand, size_t size,
                                          size_t alignment, bool zero, bool guarded);

// An extent, of a large block or of many small ones, comes back and stays for reuse. Its caller has
// begun a free, and may hold a list of what else to free.
void __real_je_pa_dalloc(struct tsdn *, struct pa_shard *, struct edata *, bool *deferred);
void __wrap_je_pa_dalloc(struct tsdn *, struct pa_shard *, struct edata *, bool *deferred);

void __real_je_te_event_trigger(struct tsd *, struct te_ctx *);
void __wrap_je_te_event_trigger(struct tsd *, struct te_ctx *);

void (*pages_on_take)(size_t bytes);
void (*pages_on_free)(size_t bytes);
bool (*pages_on_refill)(bool filled);
bool (*pages_may_refill)(void);
uint64_t (*pages_on_count)(uint64_t allocated_bytes);
struct pages_moves pages_moves;

static _Thread_local struct {
    uint64_t left : 42;    // pages of a purge, and one; 0: it has no end
    uint64_t frozen : 20;  // pages from which on extents are refused; 0: none are
    uint64_t grew : 1;     // has taken pages
    uint64_t in_event : 1; // jemalloc does what is due by bytes: empties lists of its caches
} own __attribute__((tls_model("initial-exec")));

static _Atomic uint64_t taken, returned;

// On a kernel that overcommits jemalloc maps all memory as committed, and never commits nor
// decommits: then we do it for it, with nothing but the count in commit, and MADV_DONTNEED, which
// jemalloc would use to purge, in decommit.
static _Atomic bool overcommits;

uint64_t pages_taken(void)
{
    return atomic_load_explicit(&taken, memory_order_relaxed);
}

uint64_t pages_returned(void)
{
    return atomic_load_explicit(&returned, memory_order_relaxed);
}

void pages_forget_counts(void)
{
    atomic_store(&returned, 0);
    atomic_store(&taken, 0);
}

void pages_limit_purge(uint64_t bytes)
{
    own.left = bytes == UINT64_MAX ? 0 : (bytes + 4095) / 4096 + 1;
}

void pages_freeze(size_t extent_bytes)
{
    const size_t most = (1u << 20) - 1;
    size_t pages = extent_bytes / 4096;

    own.frozen = pages < most ? pages : most;
}

// After it has searched those with pages.
struct edata *__wrap_je_ecache_alloc_grow(struct tsdn *tsdn, struct pac *pac, struct ehooks *hooks,
                                          struct ecache *extents, struct edata *expand, size_t size,
                                          size_t alignment, bool zero, bool guarded)
{
    // With pages around it that guard it, an extent is larger than was asked for.
    if (unlikely(own.frozen && size / 4096 >= own.frozen) && je_private_is_on())
        return NULL;
    return __real_je_ecache_alloc_grow(tsdn, pac, hooks, extents, expand, size, alignment, zero,
                                       guarded);
}

// All pages that become free come this way: those of freed blocks, and of blocks that shrank.
void __wrap_je_ecache_dalloc(struct tsdn *tsdn, struct pac *pac, struct ehooks *hooks,
                             struct ecache *extents, struct edata *extent)
{
    if (witness_is_asked())
        witness_saw(WITNESS_KEPT, extent);
    if (unlikely(atomic_load_explicit(&marks_were_made, memory_order_relaxed)) &&
        je_private_is_on())
        marks_take_off(extent_address(extent), extent_pages(extent) * 4096);
    __real_je_ecache_dalloc(tsdn, pac, hooks, extents, extent);
}

bool __wrap_je_ecache_init(struct tsdn *tsdn, struct ecache *extents, int state, unsigned index,
                           bool delay_coalesce)
{
    return __real_je_ecache_init(tsdn, extents, state, index,
                                 delay_coalesce && !je_private_is_on());
}

// Of an extent that is much larger than what the purge is to give back yet, only that much goes:
// what goes needlessly is a fault for each page when it is taken again.
#define SPLIT_PAGES 16

static uint64_t keep_rest(struct tsdn *tsdn, struct pac *pac, struct ehooks *hooks,
                          struct ecache *extents, struct edata *extent)
{
    uint64_t pages = extent_pages(extent), wanted = own.left - 1;

    if (!pages_moves.fills || !pages_moves.fills() || pages < wanted + SPLIT_PAGES)
        return pages;
    struct edata *rest = je_extent_split_wrapper(tsdn, pac, hooks, extent, wanted * 4096,
                                                 (pages - wanted) * 4096, false);
    if (!rest)
        return pages;
    __real_je_ecache_dalloc(tsdn, pac, hooks, extents, rest);
    return wanted;
}

// A purge asks for one extent after the other, the one unused for longest first.
struct edata *__wrap_je_ecache_evict(struct tsdn *tsdn, struct pac *pac, struct ehooks *hooks,
                                     struct ecache *extents, size_t keep_pages)
{
    if (own.left == 1 && je_private_is_on())
        return NULL;
    if (witness_is_asked())
        witness_saw_evict();
    struct edata *extent = __real_je_ecache_evict(tsdn, pac, hooks, extents, keep_pages);
    if (extent && own.left && je_private_is_on()) {
        uint64_t pages = keep_rest(tsdn, pac, hooks, extents, extent);
        own.left = pages < own.left ? own.left - pages : 1;
    }
    return extent;
}

void __wrap_je_pa_dalloc(struct tsdn *tsdn, struct pa_shard *shard, struct edata *extent,
                         bool *deferred)
{
    uint64_t pages = je_private_is_on() ? extent_pages(extent) : 0;

    if (witness_is_asked())
        witness_saw(WITNESS_FREED, extent);
    __real_je_pa_dalloc(tsdn, shard, extent, deferred);
    if (pages_on_free && pages)
        pages_on_free(pages * 4096);
}

bool pages_grew(void)
{
    bool grew = own.grew;

    own.grew = false;
    return grew;
}

bool pages_overcommit(void)
{
    return atomic_load_explicit(&overcommits, memory_order_relaxed);
}

void pages_take(size_t size)
{
    atomic_fetch_add_explicit(&taken, size, memory_order_relaxed);
    if (pages_on_take)
        pages_on_take(size);
}

void pages_return(size_t size)
{
    atomic_fetch_add_explicit(&returned, size, memory_order_relaxed);
}

void *__wrap_je_pages_map(void *addr, size_t size, size_t alignment, bool *commit)
{
    bool asked = *commit;
    void *at = __real_je_pages_map(addr, size, alignment, commit);

    if (!at || !je_private_is_on())
        return at;
    marks_heap_has((uintptr_t)at, size);
    if (*commit && !asked) {
        atomic_store_explicit(&overcommits, true, memory_order_relaxed);
        *commit = false;
    }
    // What is asked for as committed is jemalloc's own bookkeeping, and used little by little; all
    // of it where jemalloc keeps no address space. It sets the mode of huge pages for all else.
    if (asked)
        je_pages_set_thp_state(at, size);
    if (asked && !je_opt_retain)
        pages_take(size);
    return at;
}

void pages_probe(void)
{
    bool commit = false;
    int saved = errno;
    void *at = pages_overcommit() || !je_private_is_on()
                   ? NULL
                   : __wrap_je_pages_map(NULL, 4096, 4096, &commit);

    if (at)
        je_pages_unmap(at, 4096);
    errno = saved;
}

bool __wrap_je_pages_commit(void *addr, size_t size)
{
    own.grew = true;
    if (je_private_is_on() && !(pages_moves.note && pages_moves.note((uintptr_t)addr, size)))
        pages_take(size);
    if (!__real_je_pages_commit(addr, size))
        return false;
    return !atomic_load_explicit(&overcommits, memory_order_relaxed);
}

// At its start, under its lock, jemalloc maps a page, to see what MADV_DONTNEED does to it, and
// crashes where it gets none.
bool __real_je_pages_boot(void);
bool __wrap_je_pages_boot(void);

bool __wrap_je_pages_boot(void)
{
    pages_lend_one(true);
    bool failed = __real_je_pages_boot();
    pages_lend_one(false);
    return failed;
}

// errno is the caller's of free(). By jemalloc's own function, which knows where pages that were
// given back are not zero afterwards: QEMU before 7.0 ignores MADV_DONTNEED, and says nothing.
static bool discard(void *addr, size_t size)
{
    int saved = errno;
    bool failed = je_pages_purge_forced(addr, size);

    errno = saved;
    return failed;
}

bool __wrap_je_pages_decommit(void *addr, size_t size)
{
    bool failed = __real_je_pages_decommit(addr, size);
    size_t moved = 0;

    if (!je_private_is_on())
        return failed;
    if (failed && pages_overcommit()) {
        // What moves leaves its place without pages, too, but the kernel does not have them.
        moved = pages_moves.take ? pages_moves.take((uintptr_t)addr, size) : 0;
        failed = moved < size && discard(addr, size);
    }
    if (!failed)
        pages_return(size - moved);
    return failed;
}

// Where it may take no new pages, every extent is refused that would be made of them.
static void *refill(struct tsdn *tsdn, struct arena *arena, struct tcache *tcache,
                    struct cache_bin *bin, unsigned index, bool *success, bool may_ask)
{
    own.frozen = may_ask && pages_may_refill && !pages_may_refill();
    return __real_je_tcache_alloc_small_hard(tsdn, arena, tcache, bin, index, success);
}

void *__wrap_je_tcache_alloc_small_hard(struct tsdn *tsdn, struct arena *arena,
                                        struct tcache *tcache, struct cache_bin *bin,
                                        unsigned index, bool *success)
{
    // A signal handler's, where one comes here while its thread's own request is frozen.
    uint64_t frozen = own.frozen;

    if (!je_private_is_on())
        return __real_je_tcache_alloc_small_hard(tsdn, arena, tcache, bin, index, success);
    void *ptr = refill(tsdn, arena, tcache, bin, index, success, !frozen);

    own.frozen = 0;
    if (pages_on_refill && !frozen && pages_on_refill(ptr != NULL) && !ptr)
        ptr = refill(tsdn, arena, tcache, bin, index, success, true);
    own.frozen = frozen & 0xfffff;
    return ptr;
}

void __wrap_je_te_event_trigger(struct tsd *tsd, struct te_ctx *ctx)
{
    if (!je_private_is_on()) {
        __real_je_te_event_trigger(tsd, ctx);
        return;
    }
    if (witness_is_asked())
        witness_saw_event(tsd, ctx);
    // A signal handler's: it would empty the lists that its thread is emptying just now. What is
    // due stays so.
    if (own.in_event)
        return;
    own.in_event = true;
    atomic_signal_fence(memory_order_seq_cst);
    __real_je_te_event_trigger(tsd, ctx);
    atomic_signal_fence(memory_order_seq_cst);
    own.in_event = false;
    if (!ctx->is_alloc)
        tcache_note_freed(*ctx->current);
    // An event that comes early changes nothing for jemalloc: it checks what is due.
    if (pages_on_count && ctx->is_alloc) {
        uint64_t next = pages_on_count(*ctx->current);
        if (next < *ctx->next_event)
            *ctx->next_event = next;
        if (next < *ctx->next_event_fast)
            *ctx->next_event_fast = next;
    }
    // Not in a free: libc makes some with its lock of stacks taken, which a new thread needs.
    if (pages_on_refill && ctx->is_alloc)
        pages_on_refill(true);
}
