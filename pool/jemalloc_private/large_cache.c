#include "pool/jemalloc_private/large_cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/common/marks.h"
#include "pool/common/quota.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/layouts.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "shim/base.h"

// Of all blocks together: one of the largest that are kept.
#define MAX_BYTES ((size_t)64 << 20)

// A slot is an address, whose lower 12 bits have the size class, counted from that of 1 MiB, when
// it was put there, and whether realloc() had made it larger. 0: empty.
#define CLASS_BITS 6
#define CLASS_MASK ((1u << CLASS_BITS) - 1)
#define AGE_MASK 3u
#define GREW (1u << 8)

static struct {
    _Alignas(64) _Atomic uintptr_t slot[8];
    _Atomic unsigned age; // ticks so far
    unsigned first;       // jemalloc's number of the class of 1 MiB; 0 while nothing is kept
    unsigned class_count; // of larger ones that are kept, and that one
    unsigned arena;       // the first that is not jemalloc's own
} cache;

// Live blocks that realloc() has made larger. The address is in the place that it alone decides, so
// that some are missing, and a wrong one costs a block that was better left whole.
static _Atomic uintptr_t grown[8];

// Four sizes to a doubling, as jemalloc has them.
static unsigned class_of(size_t size)
{
    unsigned lg = 63 - (unsigned)__builtin_clzl(size - 1);

    return 4 * (lg - 20) + ((unsigned)((size - 1) >> (lg - 2)) & 3) + 1;
}

static size_t bytes_of(uintptr_t kept)
{
    return je_sz_index2size_tab[cache.first + (kept & CLASS_MASK)];
}

static uintptr_t address_of(uintptr_t kept)
{
    return kept & ~(uintptr_t)4095;
}

static unsigned je_class_of(size_t bytes)
{
    unsigned class = 0;

    while (je_sz_index2size_tab[class] < bytes)
        class ++;
    return class;
}

void large_cache_init(unsigned arena)
{
    if (!je_private_is_on())
        return;
    cache.arena = arena;
    cache.class_count = class_of(LARGE_CACHE_MAX_BYTES) + 1;
    cache.first = je_class_of(SIZE_CLASS_MAX_BYTES);
}

void *large_cache_take(size_t size)
{
    if (size > LARGE_CACHE_MAX_BYTES)
        return NULL;
    unsigned class = class_of(size);
    for (unsigned i = 0; i < array_len(cache.slot); i++) {
        uintptr_t kept = atomic_load_explicit(&cache.slot[i], memory_order_relaxed);
        if ((kept & CLASS_MASK) == class &&
            atomic_compare_exchange_strong_explicit(&cache.slot[i], &kept, 0, memory_order_acquire,
                                                    memory_order_relaxed))
            return (void *)address_of(kept);
    }
    return NULL;
}

void *large_cache_take_grown(size_t size)
{
    uintptr_t best = size > LARGE_CACHE_MAX_BYTES ? CLASS_MASK : class_of(size) - 1;
    _Atomic uintptr_t *slot = NULL;

    for (unsigned i = 0; i < array_len(cache.slot); i++) {
        uintptr_t kept = atomic_load_explicit(&cache.slot[i], memory_order_relaxed);
        if (kept & GREW && (kept & CLASS_MASK) > (best & CLASS_MASK)) {
            best = kept;
            slot = &cache.slot[i];
        }
    }
    return slot && atomic_compare_exchange_strong_explicit(slot, &best, 0, memory_order_acquire,
                                                           memory_order_relaxed)
               ? (void *)address_of(best)
               : NULL;
}

static _Atomic uintptr_t *grown_at(uintptr_t at)
{
    return &grown[at / SIZE_CLASS_MAX_BYTES % array_len(grown)];
}

static bool forget_grown(uintptr_t at)
{
    _Atomic uintptr_t *entry = grown_at(at);

    if (likely(atomic_load_explicit(entry, memory_order_relaxed) != at))
        return false;
    atomic_store_explicit(entry, 0, memory_order_relaxed);
    return true;
}

void large_cache_grew(const void *from, const void *to)
{
    forget_grown((uintptr_t)from);
    atomic_store_explicit(grown_at((uintptr_t)to), (uintptr_t)to, memory_order_relaxed);
}

// What a slot would have of it; 0 for what is no large block of an arena of jemalloc's own.
static uintptr_t kept_form(uintptr_t at)
{
    const uint64_t *entry = extent_entry(at);

    if (!entry || !cache.first)
        return 0;
    uint64_t found = __atomic_load_n(entry, __ATOMIC_RELAXED);
    uint64_t class = (found >> 48) - cache.first;
    if (found & 1 || class - 1 >= cache.class_count - 1)
        return 0;
    if (extent_arena(extent_of(found)) >= cache.arena)
        return 0;
    unsigned age = atomic_load_explicit(&cache.age, memory_order_relaxed) & AGE_MASK;
    return at | class | age << CLASS_BITS;
}

static bool is_allowed(size_t bytes)
{
    uint64_t taken = quota_taken_bytes(), most = quota_max();

    return bytes <= MAX_BYTES && taken <= most && bytes <= most - taken;
}

enum large_put large_cache_put(void *ptr)
{
    uintptr_t at = (uintptr_t)ptr, kept = kept_form(at), none = 0;
    _Atomic uintptr_t *empty = NULL;
    size_t bytes;

    if (!kept)
        return LARGE_REFUSED;
    bytes = bytes_of(kept);
    if (forget_grown(at))
        kept |= GREW;
    for (unsigned i = array_len(cache.slot); i-- > 0;) {
        uintptr_t other = atomic_load_explicit(&cache.slot[i], memory_order_relaxed);
        if (!other)
            empty = &cache.slot[i];
        else if (address_of(other) == at)
            return LARGE_TWICE;
        else
            bytes += bytes_of(other);
    }
    if (!empty || !is_allowed(bytes))
        return LARGE_REFUSED;
    if (unlikely(atomic_load_explicit(&marks_were_made, memory_order_relaxed)) &&
        marks_any(at, bytes_of(kept)))
        return LARGE_REFUSED;
    return atomic_compare_exchange_strong_explicit(empty, &none, kept, memory_order_release,
                                                   memory_order_relaxed)
               ? LARGE_KEPT
               : LARGE_REFUSED;
}

uint64_t large_cache_bytes(void)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < array_len(cache.slot); i++) {
        uintptr_t kept = atomic_load_explicit(&cache.slot[i], memory_order_relaxed);
        bytes += kept ? bytes_of(kept) : 0;
    }
    return bytes;
}

static size_t give_back(_Atomic uintptr_t *slot, uintptr_t kept)
{
    if (!atomic_compare_exchange_strong_explicit(slot, &kept, 0, memory_order_acquire,
                                                 memory_order_relaxed))
        return 0;
    int saved = errno;
    guard_enter();
    je_dallocx((void *)address_of(kept), JE_TCACHE_NONE);
    guard_leave();
    errno = saved;
    return bytes_of(kept);
}

static uint64_t give_back_all(bool young_too, unsigned young)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < array_len(cache.slot); i++) {
        uintptr_t kept = atomic_load_explicit(&cache.slot[i], memory_order_relaxed);
        if (kept && (young_too || (kept >> CLASS_BITS & AGE_MASK) != young))
            bytes += give_back(&cache.slot[i], kept);
    }
    return bytes;
}

uint64_t large_cache_drain(void)
{
    return give_back_all(true, 0);
}

// As much goes back to the kernel; they have waited long enough, and need not wait with jemalloc.
static void purge(uint64_t bytes)
{
    int saved = errno;

    pages_limit_purge(bytes);
    guard_enter();
    je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    guard_leave();
    pages_limit_purge(UINT64_MAX);
    errno = saved;
}

uint64_t large_cache_age(void)
{
    unsigned age = atomic_fetch_add_explicit(&cache.age, 1, memory_order_relaxed) & AGE_MASK;
    uint64_t bytes = give_back_all(false, age);

    if (bytes)
        purge(bytes);
    return bytes;
}
