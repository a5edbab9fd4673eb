#include "shim/lowmem/extent_tuning.h"

#include "pool/jemalloc_private/jemalloc_private.h"
#include "shim/base.h"
#include "shim/jemalloc/guarded.h"

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
    static size_t now = SHIPPED_BYTES;

    if (bytes == now || chosen() != SHIPPED_BYTES)
        return;
    now = bytes;
    je_private_set_oversize(bytes);
    guarded_set_arenas("arena.0.oversize_threshold", &bytes, sizeof bytes);
}

void oversize_set_short(bool is_short)
{
    je_private_cut_any(!is_short);
}
