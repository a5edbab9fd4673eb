// glibc - what glibc's <malloc.h> has beyond allocation: trimming, and figures about the heap.
//
// Callers expect an effect and figures that make sense, in glibc's words: arena is what the heap
// has taken from the system, uordblks what is in use, fordblks the rest. Nothing counts as hblkhd,
// memory outside the arena.
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "pool/common/guard.h"
#include "pool/jemalloc_private/large_cache.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "shim/base/log.h"
#include "shim/heap.h"

struct heap_figures {
    size_t in_use, held, releasable;
};

static size_t figure(const char *name)
{
    size_t value = 0, len = sizeof value;

    return guarded_mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

// A handler's, while jemalloc cannot be asked: what pages are with it, all of them in use.
static struct heap_figures figures_inside(void)
{
    size_t held = pages_taken() - pages_returned();

    return (struct heap_figures){.in_use = held, .held = held};
}

static struct heap_figures figures(void)
{
    struct pool_bucket_stats bucket[QUOTA_BUCKETS_MAX];
    uint64_t epoch = 1;
    struct heap_figures f;
    size_t kept_free = 0;

    if (guard_entered())
        return figures_inside();
    for (unsigned b = pool_stats(bucket); b-- > 0;)
        kept_free += bucket[b].free_bytes;
    kept_free += large_cache_bytes();
    // jemalloc's figures stand still until the epoch is advanced.
    guarded_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    f.in_use = figure("stats.allocated");
    f.in_use -= kept_free < f.in_use ? kept_free : f.in_use;
    f.held = figure("stats.resident");
    f.releasable = kept_free + figure("stats.arenas.4096.pdirty") * 4096;
    if (f.held < f.in_use)
        f.held = f.in_use;
    return f;
}

// `pad` is for heaps that end somewhere; ours does not.
HEAP_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    return heap_trim();
}

static struct mallinfo2 info(void)
{
    struct heap_figures f = figures();

    return (struct mallinfo2){
        .arena = f.held,
        .uordblks = f.in_use,
        .fordblks = f.held - f.in_use,
        .keepcost = f.releasable,
    };
}

HEAP_EXPORT struct mallinfo2 mallinfo2(void)
{
    return info();
}

// The old interface counts in int; figures that do not fit are cut off, as glibc documents.
HEAP_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = info();

    return (struct mallinfo){
        .arena = (int)m.arena,
        .uordblks = (int)m.uordblks,
        .fordblks = (int)m.fordblks,
        .keepcost = (int)m.keepcost,
    };
}

// The parameters that glibc knows are accepted and change nothing: they tune what is not here.
HEAP_EXPORT int mallopt(int param, int value)
{
    static const int known[] = {M_MXFAST,         M_TRIM_THRESHOLD, M_TOP_PAD,
                                M_MMAP_THRESHOLD, M_MMAP_MAX,       M_CHECK_ACTION,
                                M_PERTURB,        M_ARENA_TEST,     M_ARENA_MAX};

    (void)value;
    for (unsigned i = 0; i < array_len(known); i++)
        if (param == known[i])
            return 1;
    return 0;
}

HEAP_EXPORT int malloc_info(int options, FILE *stream)
{
    struct heap_figures f;
    int written;

    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    f = figures();
    written = fprintf(stream,
                      "<malloc version=\"tidepool-" TIDEPOOL_VERSION "\">\n"
                      "<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
                      "<system type=\"current\" size=\"%zu\"/>\n"
                      "<aspace type=\"total\" size=\"%zu\"/>\n</malloc>\n",
                      f.held - f.in_use, f.held, figure("stats.mapped"));
    return written < 0 ? -1 : 0;
}

HEAP_EXPORT void malloc_stats(void)
{
    struct heap_figures f = figures();

    log_line(LOG_STATS, "system bytes %zu, in use bytes %zu, free bytes %zu", f.held, f.in_use,
             f.held - f.in_use);
}
