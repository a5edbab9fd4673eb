#include "shim/heap.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "pool/common/je.h"
#include "pool/common/sampler.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/growth.h"
#include "pool/region/remap.h"
#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "shim/jemalloc/aside.h"
#include "shim/lowmem/low_memory.h"
#include "shim/lowmem/promised.h"
#include "shim/lowmem/reclaim.h"
#include "shim/lowmem/resize.h"
#include "shim/own_thread/raw_fork.h"
#include "shim/profile/misuse.h"
#include "shim/profile/sampling.h"

// A request that takes pages: the only place where memory pressure is asked, because it is the
// only one where that can cost something and no lock is held.
static void *take_pages(size_t size, bool zero)
{
    bool entered = pool_entered();
    void *ptr = entered ? NULL : low_memory_reuse(size, zero);

    if (!entered && !ptr && !zero)
        ptr = low_memory_move(size);
    if (ptr) {
        pressure_reuse(size);
        return ptr;
    }
    // A handler may have interrupted a request that was made frozen, and must not be refused.
    pages_freeze(0);
    if (!entered)
        pressure_ask(size);
    ptr = pool_get_new(size, zero);
    // What the pools do not serve: too large, a bucket that is off, no region.
    if (!ptr)
        ptr = guarded_alloc(size, zero);
    // Address space may be short while pages lie free in runs of other sizes.
    if (!ptr && !entered && reclaim_for(size))
        ptr = guarded_alloc(size, zero);
    if (!entered) {
        if (ptr && size < REMAP_MIN_BYTES)
            low_memory_stock_up(pool_owns(ptr));
        pressure_reuse(size);
        watchdog_thread_poke();
    }
    return ptr;
}

// The block; NULL and ENOMEM where others took the memory that was promised for it.
static void *keep_promise(struct promised p, void *ptr, size_t size)
{
    if (likely(promised_end(p, ptr, 0, size)))
        return ptr;
    heap_free(ptr);
    errno = ENOMEM;
    return NULL;
}

// While memory is short, a block keeps no pages behind what the program asked for.
static void give_rest(const void *ptr, size_t size)
{
    if (unlikely(pool_is_frugal()))
        pool_give_rest(ptr, size, heap_usable_size(ptr));
}

static void *grow(size_t size, bool zero)
{
    size_t block = pool_block_bytes(size, true);
    struct promised p = promised_begin(block ? block : size);
    void *ptr;

    if (p.refused)
        return NULL;
    ptr = take_pages(size, zero);
    // The pools trim theirs.
    if (ptr && size > SIZE_CLASS_MAX_BYTES)
        give_rest(ptr, size);
    return keep_promise(p, ptr, size);
}

// alloc_slow() where some requests are sampled: the lists do not know of those at first, and what
// goes past them is counted apart. A sampled request gets the block that it would have got without.
static void *alloc_counted(size_t size, size_t asked, bool zero)
{
    void *ptr = pool_get_transferred(size, zero);
    double probability;

    if (ptr)
        return ptr;
    if (likely(!sampling_due(size, &probability)))
        return grow(size, zero);
    if (!pool_block_bytes(size, false)) {
        ptr = sampling_run(size, asked, zero, probability);
        return ptr ? ptr : grow(size, zero);
    }
    ptr = pool_get_transferred(size, zero);
    if (!ptr)
        ptr = grow(size, zero);
    if (ptr)
        sampling_mark(ptr, asked, probability);
    return ptr;
}

// Zeroing a block, most of which the program may never touch, would make it resident.
#define ZERO_MAX_BYTES ((size_t)4 << 20)

// Where requests are sampled or promised, each is a new one.
static bool keeps_large(void)
{
    return likely(!sampler_is_on() && !promise_is_on);
}

static void *take_large(size_t size, bool zero)
{
    if (!keeps_large() || (zero && size > ZERO_MAX_BYTES))
        return NULL;
    void *ptr = large_cache_take(size);
    return ptr && zero ? memset(ptr, 0, size) : ptr;
}

// A pooled size that the thread's list did not serve, or a larger one; the program asked for
// `asked` of it.
static void *alloc_slow(size_t size, size_t asked, bool zero)
{
    void *large = size > SIZE_CLASS_MAX_BYTES ? take_large(size, zero) : NULL;

    if (large)
        return large;
    // Where another thread is still making the pools, half of them can be seen already: the region,
    // but not the arena that belongs to it.
    raw_fork_notice();
    if (unlikely(!heap_start()))
        return unlikely(aside()) ? aside_alloc(size, zero) : guarded_alloc(size, zero);
    if (unlikely(sampler_is_on()))
        return alloc_counted(size, asked, zero);
    void *ptr = pool_get_transferred(size, zero);
    return ptr ? ptr : grow(size, zero);
}

void *heap_alloc_slow(size_t size)
{
    return alloc_slow(size, size, false);
}

void heap_refuse(const void *ptr)
{
    bool twice = pool_misuse_of(ptr) == POOL_DOUBLE_FREE;
    unsigned depth = 0;
    const uintptr_t *allocated = twice ? sampling_allocated_at(ptr, &depth) : NULL;

    misuse_report(twice ? MISUSE_DOUBLE_FREE : MISUSE_INVALID_FREE, ptr, allocated, depth);
}

// An address on LARGE_CACHE_ALIGNMENT: of a large block, or of one small one in a thousand.
void heap_free_aligned(void *ptr)
{
    enum large_put put = keeps_large() ? large_cache_put(ptr) : LARGE_REFUSED;

    if (likely(put == LARGE_KEPT))
        return;
    if (put == LARGE_REFUSED) {
        heap_free_other(ptr);
        return;
    }
    misuse_report(MISUSE_DOUBLE_FREE, ptr, NULL, 0);
}

void heap_free_slow(void *ptr)
{
    raw_fork_notice();
    size_t bytes = pool_usable_size(ptr);
    enum pool_misuse misuse = pool_put_slow(ptr);

    if (misuse == POOL_SAMPLED)
        sampling_free(ptr);
    if ((misuse == POOL_RELEASED || misuse == POOL_SAMPLED) && !pool_entered())
        pressure_shrink(bytes);
    else if (misuse == POOL_DOUBLE_FREE || misuse == POOL_INVALID_FREE)
        heap_refuse(ptr);
}

void *heap_calloc(size_t count, size_t size)
{
    size_t bytes;
    void *ptr;

    if (unlikely(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    if (likely(!pool_takes(bytes)))
        return bytes < SIZE_CLASS_MIN_BYTES ? heap_small_zeroed(1, bytes)
                                            : alloc_slow(bytes, bytes, true);
    ptr = pool_get(bytes);
    if (likely(ptr))
        return memset(ptr, 0, bytes);
    return alloc_slow(bytes, bytes, true);
}

// Is no more than a part of it unused: one half, one quarter?
static bool fills(size_t size, size_t have, size_t part)
{
    return size <= have && size > have - have / part;
}

// Would moving a block of `have` bytes pay, which cannot be resized in place? Half of it may be
// unused, because a buffer that shrank tends to grow again, and moving it costs a copy each way.
// Near a limit a quarter may, and where requests are sampled: nothing is resized in place then.
static bool fits_in_place(size_t size, size_t have)
{
    return fills(size, have, pool_is_frugal() || sampler_is_on() ? 4 : 2);
}

// Of a block that realloc left where it is. A buffer that grows by small steps has not touched its
// rest since the first; so for each of the last such blocks, where its rest began, and twelve bits
// of the block's address.
static void give_rest_once(const void *ptr, size_t size)
{
    static _Atomic uintptr_t given[16];

    if (likely(!pool_is_frugal()) || !ptr)
        return;
    uintptr_t at = (uintptr_t)ptr, tag = at >> 12 & 4095;
    uintptr_t from = (at + size + 4095) & ~(uintptr_t)4095;
    _Atomic uintptr_t *slot = &given[(at >> 14) % array_len(given)];
    uintptr_t last = atomic_load_explicit(slot, memory_order_relaxed);
    atomic_store_explicit(slot, from | tag, memory_order_relaxed);
    if ((last & 4095) != tag || last < at || last - tag > from)
        give_rest(ptr, size);
}

// The first part of a longer block: the rest lies free behind it. It keeps its pages, but for
// blocks above what jemalloc gives back at once: an eighth of the limit, 8 MiB at least.
static void *alloc_with_rest(size_t size)
{
    bool may_cut = size > SIZE_CLASS_MAX_BYTES && !pool_entered();
    void *ptr = may_cut ? large_cache_take_grown(size) : NULL;

    raw_fork_notice();
    if (ptr)
        guarded_xallocx(ptr, size, 0, 0);
    return ptr ? ptr : heap_alloc(size);
}

// For a buffer that grows, and may go on; near a limit it gets no more than it needs.
static void *alloc_growing(size_t size)
{
    if (!keeps_large() || pressure_keep_bytes() != PRESSURE_UNLIMITED)
        return heap_alloc(size);
    if (!pool_takes(size))
        return alloc_with_rest(size);
    size_t wanted = growth_reserve(size);
    void *ptr = pool_block_bytes(wanted, false) ? heap_alloc(wanted) : NULL;
    if (ptr && region_holds(ptr) && region_is_live(ptr)) {
        growth_begin(ptr, size);
        return ptr;
    }
    if (ptr && wanted == size)
        return ptr;
    // Nothing would tell of the rest of a block of jemalloc's.
    heap_free(ptr);
    return heap_alloc(size);
}

static void *move(void *ptr, size_t have, size_t size)
{
    bool tight = resize_is_tight(have, size);
    void *to = size > have ? alloc_growing(size) : heap_alloc(size);

    if (!to)
        return NULL;
    if (unlikely(tight))
        resize_copy(to, ptr, have);
    else
        memcpy(to, ptr, have < size ? have : size);
    if (size > have && pool_owns(ptr))
        growth_leave(ptr, size);
    if (size > have && size > SIZE_CLASS_MAX_BYTES)
        large_cache_grew(ptr, to);
    heap_free(ptr);
    return to;
}

// A block of 16 KiB and more becomes shorter or longer where it lies, which takes a microsecond.
// One that grows as others have before gets a place with room for more instead.
static bool resized_in_place(void *ptr, size_t have, size_t size)
{
    bool grows = size > have, done;

    if (have < SIZE_CLASS_FIRST_COLOURED_BYTES || size < SIZE_CLASS_FIRST_COLOURED_BYTES)
        return false;
    // Where requests are sampled, a resized one is drawn for anew.
    if (sampler_is_on() || (grows && (promise_is_on || pool_entered())))
        return false;
    if (grows && pressure_keep_bytes() == PRESSURE_UNLIMITED && growth_reserve(size) != size)
        return false;
    raw_fork_notice();
    if (grows)
        pressure_ask(size - have);
    done =
        pool_owns(ptr) ? pool_resize(ptr, size) : fills(size, guarded_xallocx(ptr, size, 0, 0), 4);
    if (done && !grows && !pool_entered())
        pressure_shrink(have - size);
    return done;
}

// Resized to a pooled size, or from the pools to any.
static void *pooled_realloc(void *ptr, size_t have, size_t size)
{
    if (!fills(size, have, 4) && pool_takes(size) && resized_in_place(ptr, have, size)) {
        // What it has gained may be pages that another had touched.
        give_rest(ptr, size);
        return ptr;
    }
    if (!fits_in_place(size, have)) {
        int saved = errno;
        void *to = move(ptr, have, size);
        if (to || size > have)
            return to;
        // What shrinks cannot fail.
        errno = saved;
    }
    give_rest_once(ptr, size);
    return ptr;
}

static void *large_realloc(void *ptr, size_t size)
{
    bool entered = pool_entered();
    size_t have = guarded_usable_size(ptr);
    void *to;

    // What a smaller class would give back is a quarter at most, and a call into jemalloc. Near a
    // limit that quarter counts.
    if (fills(size, have, 4) && likely(!promise_is_on) &&
        pressure_keep_bytes() == PRESSURE_UNLIMITED)
        return ptr;
    if (!entered)
        pressure_ask(size);
    if (unlikely(promise_is_on) && !entered)
        to = resize_promised(ptr, size, 0);
    // Where requests are sampled, a block that moves is one.
    else if (!sampler_is_on() && resize_is_tight(have, size))
        to = resize_tight(ptr, have, size);
    else if (!entered && size > have && keeps_large())
        to = guarded_xallocx(ptr, size, 0, 0) >= size ? ptr : move(ptr, have, size);
    else
        to = heap_resized(ptr, size);
    give_rest_once(to, size);
    if (!entered)
        watchdog_thread_poke();
    // jemalloc leaves errno alone for sizes that no address space holds.
    if (!to)
        errno = ENOMEM;
    return to;
}

void *heap_realloc(void *ptr, size_t size)
{
    size_t have;

    if (unlikely(aside()))
        return aside_realloc(ptr, size);
    if (!ptr)
        return heap_alloc(size);
    if (!size) {
        heap_free(ptr);
        return NULL;
    }
    if (pool_owns(ptr)) {
        if (growth_in_place(ptr, size))
            return ptr;
        have = pool_usable_size(ptr);
        if (likely(have))
            return pooled_realloc(ptr, have, size);
        heap_refuse(ptr);
        errno = ENOMEM;
        return NULL;
    }
    if (!pool_takes(size))
        return size > SIZE_CLASS_MAX_BYTES ? large_realloc(ptr, size) : heap_resized(ptr, size);
    // Into the pools, unless it is a block of a pooled size that jemalloc had to serve.
    return pooled_realloc(ptr, guarded_usable_size(ptr), size);
}

// A block of the pools with that alignment, at least; NULL where they do not serve it.
static void *pooled_aligned(size_t alignment, size_t size)
{
    size_t asked = size;
    void *ptr;

    if (size < SIZE_CLASS_MIN_BYTES || alignment > 4096 || !heap_start())
        return NULL;
    if (alignment > 64) {
        // A multiple of the alignment has a class that is one, too, up to a page.
        size = pool_block_bytes((size + alignment - 1) & -alignment, true);
        if (!size)
            return NULL;
    }
    if (!pool_takes(size))
        return NULL;
    ptr = pool_get(size);
    if (!ptr)
        ptr = alloc_slow(size, asked, false);
    // jemalloc serves a pooled size where the pools cannot, and need not align it like them.
    if ((uintptr_t)ptr & (alignment - 1)) {
        heap_free(ptr);
        ptr = NULL;
    }
    return ptr;
}

static void *sampled_or_new(size_t size, int flags)
{
    void *ptr = NULL;

    if (unlikely(sampler_is_on()) && size && !(flags & ~(JE_LG_ALIGN_MASK | JE_ZERO)))
        ptr = sampling_try((size_t)1 << (flags & JE_LG_ALIGN_MASK), size, flags & JE_ZERO);
    return ptr ? ptr : guarded_mallocx(size, flags);
}

void *heap_guarded(size_t size, int flags)
{
    struct promised p = promised_begin(size < SIZE_CLASS_MIN_BYTES ? 0 : size);
    bool large = size > SIZE_CLASS_MAX_BYTES && !pool_entered();
    void *ptr;

    if (p.refused)
        return NULL;
    if (large)
        pressure_ask(size);
    ptr = sampled_or_new(size, flags);
    if (large)
        watchdog_thread_poke();
    return keep_promise(p, ptr, size);
}

void *heap_aligned(size_t alignment, size_t size)
{
    if (unlikely(aside()))
        return aside_aligned(alignment, size);
    void *ptr = pooled_aligned(alignment, size);

    if (ptr)
        return ptr;
    ptr = heap_guarded(size ? size : 1, JE_ALIGN_LG(__builtin_ctzl(alignment)));
    if (!ptr)
        errno = ENOMEM;
    return ptr;
}

size_t heap_usable_size(const void *ptr)
{
    if (pool_owns(ptr))
        return pool_usable_size(ptr);
    if (unlikely(aside()))
        return aside_usable_size((void *)(uintptr_t)ptr);
    return guarded_usable_size(ptr);
}

bool heap_trim(void)
{
    raw_fork_notice();
    return reclaim(0) > 0;
}
