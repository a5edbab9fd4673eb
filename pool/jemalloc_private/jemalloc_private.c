#include "pool/jemalloc_private/jemalloc_private.h"

#include <sys/types.h>

#include "pool/common/je.h"
#include "pool/jemalloc_private/layouts.h"

bool je_private_off;

// jemalloc offsets each large block within a page of its own, so that the first lines of many
// blocks do not fall into the same cache set: a page more for each 16 KiB. The pools hand out
// page-aligned blocks, so for us it would be that page and nothing else.
extern bool je_opt_cache_oblivious;
bool je_opt_cache_oblivious = false;

// jemalloc 5.3.1 rounds a large size up to a page, unless this says otherwise, and its map tells
// another size than the block has.
extern bool je_opt_disable_large_size_classes;
bool je_opt_disable_large_size_classes = false;

// jemalloc's enum thp_mode_t, which it looks at for each mapping.
enum { JE_THP_DEFAULT, JE_THP_ALWAYS, JE_THP_NEVER };
extern int je_opt_thp;

extern bool je_opt_retain;
extern unsigned je_narenas_auto;
extern size_t je_oversize_threshold;

// By powers of two of the size that is asked for.
extern size_t je_opt_lg_extent_max_active_fit;
enum { FIT_SHIPPED = 6, FIT_ANY = 63 };

uint64_t *je_private_entry(uintptr_t page)
{
    return je_private_is_on() ? extent_entry(page) : NULL;
}

size_t je_private_size(const void *ptr)
{
    const uint64_t *entry = je_private_entry((uintptr_t)ptr);

    return entry ? je_sz_index2size_tab[*entry >> 48] : je_sallocx(ptr, 0);
}

// Adds to what it is given.
void je_arena_basic_stats_merge(struct tsdn *, struct arena *, unsigned *threads, const char **dss,
                                ssize_t *dirty_decay_ms, ssize_t *muzzy_decay_ms, size_t *active,
                                size_t *dirty, size_t *muzzy);
unsigned je_narenas_total_get(void);
extern unsigned je_manual_arena_base; // the first that arenas.create makes

bool je_private_dirty_bytes(unsigned arenas, uint64_t *bytes)
{
    size_t active = 0, dirty = 0, muzzy = 0;
    ssize_t dirty_ms, muzzy_ms;
    unsigned threads = 0;
    const char *dss;

    if (!je_private_is_on() || je_narenas_total_get() > arenas || je_manual_arena_base + 1 < arenas)
        return false;
    for (unsigned i = 0; i < arenas; i++) {
        struct arena *arena = __atomic_load_n(&je_arenas[i], __ATOMIC_ACQUIRE);
        if (arena)
            je_arena_basic_stats_merge(NULL, arena, &threads, &dss, &dirty_ms, &muzzy_ms, &active,
                                       &dirty, &muzzy);
    }
    *bytes = dirty * (uint64_t)4096;
    return true;
}

void je_private_set_thp(bool always)
{
    if (je_private_is_on() && je_opt_thp == JE_THP_NEVER)
        je_opt_thp = always ? JE_THP_ALWAYS : JE_THP_DEFAULT;
}

void je_private_spare_addresses(uint64_t most_arenas)
{
    if (!je_private_is_on())
        return;
    je_opt_retain = false;
    if (most_arenas < je_narenas_auto)
        je_narenas_auto = most_arenas ? (unsigned)most_arenas : 1;
}

void je_private_set_oversize(size_t bytes)
{
    if (je_private_is_on())
        je_oversize_threshold = bytes;
}

void je_private_cut_any(bool any)
{
    static bool is_ours;

    if (!je_private_is_on())
        return;
    // As je_malloc_conf has it, unless MALLOC_CONF says otherwise.
    if (any && je_opt_lg_extent_max_active_fit == FIT_ANY)
        is_ours = true;
    if (is_ours)
        __atomic_store_n(&je_opt_lg_extent_max_active_fit, any ? FIT_ANY : FIT_SHIPPED,
                         __ATOMIC_RELAXED);
}
