#include "shim/lowmem/extent_tuning.h"

#include "pool/jemalloc_private/jemalloc_private.h"
#include "shim/base.h"
#include "shim/guarded.h"

#define SHIPPED_BYTES ((size_t)8 << 20)
#define MOST_BYTES ((size_t)1 << 30)

// Large blocks of one program are some of this part.
#define PART_OF_LIMIT 8

static size_t chosen(void)
{
    size_t bytes = SHIPPED_BYTES, len = sizeof bytes;

    guarded_mallctl("opt.oversize_threshold", &bytes, &len, NULL, 0);
    return bytes ? bytes : PTRDIFF_MAX; // 0: no limit
}

// jemalloc makes its first arena before it has read what the user chose.
void oversize_init(void)
{
    size_t bytes = chosen();

    oversize_set_short(false);
    if (bytes != SHIPPED_BYTES)
        guarded_mallctl("arena.0.oversize_threshold", NULL, NULL, &bytes, sizeof bytes);
}

void oversize_set_limit(uint64_t limit_bytes)
{
    uint64_t part = limit_bytes / PART_OF_LIMIT;
    size_t bytes = part < SHIPPED_BYTES ? SHIPPED_BYTES : part < MOST_BYTES ? part : MOST_BYTES;
    size_t mib[3], mib_len = array_len(mib), len;
    static size_t now = SHIPPED_BYTES;
    unsigned arenas = 0;

    if (bytes == now || chosen() != SHIPPED_BYTES)
        return;
    now = bytes;
    je_private_set_oversize(bytes);
    len = sizeof arenas;
    if (guarded_mallctl("arenas.narenas", &arenas, &len, NULL, 0) ||
        guarded_mallctlnametomib("arena.0.oversize_threshold", mib, &mib_len))
        return;
    for (mib[1] = 0; mib[1] < arenas; mib[1]++) // those never used refuse, and need nothing
        guarded_mallctlbymib(mib, mib_len, NULL, NULL, &bytes, sizeof bytes);
}

void oversize_set_short(bool is_short)
{
    je_private_cut_any(!is_short);
}
