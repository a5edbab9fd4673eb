#include "pool/jemalloc_private/large_cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "pool/common/je.h"
#include "pool/common/quota.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/layouts.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/marks.h"
#include "pool/region/region.h"
#include "shim/base.h"

// Of all blocks together; one of the largest that are kept, and room beside it.
#define MAX_BYTES ((size_t)128 << 20)

// jemalloc 5.3 on 48-bit addresses with pages of 4 KiB. Its map is a table of tables, of which the
// second has 8 bytes for each page: the size class in the upper 16 bits, where the extent is
// described, and flags, the first of them for slabs. A description begins with its arena's number.
#define MAP_ROOT_OFFSET 0x78
#define MAP_LG 18
#define EXTENT_MASK ((UINT64_C(1) << 48) - 128)
#define ARENA_MASK 0xfff

// A slot is an address, whose lower 12 bits have the size class, counted from that of 1 MiB, and
// when it was put there. 0: empty.
#define CLASS_BITS 6
#define CLASS_MASK ((1u << CLASS_BITS) - 1)
#define AGE_MASK 3u

static struct {
    _Alignas(64) _Atomic uintptr_t slot[8];
    _Atomic unsigned age; // ticks so far
    unsigned first;       // jemalloc's number of the class of 1 MiB; 0 while nothing is kept
    unsigned class_count; // of larger ones that are kept, and that one
} cache;

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

static const uint64_t *map_entry(uintptr_t at)
{
    uintptr_t *root = (uintptr_t *)(void *)(je_arena_emap_global + MAP_ROOT_OFFSET);
    uintptr_t mask = ((uintptr_t)1 << MAP_LG) - 1;
    uintptr_t table = __atomic_load_n(&root[at >> 30 & mask], __ATOMIC_ACQUIRE);

    return table ? (const uint64_t *)table + (at >> 12 & mask) : NULL;
}

static unsigned je_class_of(size_t bytes)
{
    unsigned class = 0;

    while (je_sz_index2size_tab[class] < bytes)
        class ++;
    return class;
}

static bool map_is_known(void *block, size_t bytes)
{
    const uint64_t *entry = map_entry((uintptr_t)block);

    return entry && *entry >> 48 == je_class_of(bytes) && !(*entry & 1) &&
           entry == je_private_entry((uintptr_t)block);
}

void large_cache_init(void)
{
    const size_t bytes = 16384; // the smallest that is no slab's
    void *block;

    if (!je_private_is_on())
        return;
    region_enter();
    block = je_mallocx(bytes, JE_TCACHE_NONE);
    if (block && map_is_known(block, bytes)) {
        cache.class_count = class_of(LARGE_CACHE_MAX_BYTES) + 1;
        cache.first = je_class_of(SIZE_CLASS_MAX_BYTES);
    }
    if (block)
        je_dallocx(block, JE_TCACHE_NONE);
    region_leave();
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

// What a slot would have of it; 0 for what is no large block of an arena of jemalloc's own.
static uintptr_t kept_form(uintptr_t at)
{
    const uint64_t *entry = map_entry(at);

    if (!entry || !cache.first)
        return 0;
    uint64_t found = __atomic_load_n(entry, __ATOMIC_RELAXED);
    uint64_t class = (found >> 48) - cache.first;
    if (found & 1 || class - 1 >= cache.class_count - 1)
        return 0;
    // The pools' arena was made when jemalloc had none but its own.
    const uint64_t *extent = (const uint64_t *)(uintptr_t)(found & EXTENT_MASK);
    if ((*extent & ARENA_MASK) >= region.arena)
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
    region_enter();
    je_dallocx((void *)address_of(kept), JE_TCACHE_NONE);
    region_leave();
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
    region_enter();
    je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    region_leave();
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
