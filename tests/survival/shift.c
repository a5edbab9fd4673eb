// shift LIVE_MIB wide|narrow - one thread whose live bytes stay at their peak while their size
// changes.
//
// Each phase replaces the blocks of the phase before, oldest first, a new one as soon as its bytes
// fit. An allocator that keeps what was freed in the shape it was freed in pays for every phase.
// Sizes are size classes of the peers (not of one of them), so that the row shows what is kept, not
// what is rounded up.

#include <string.h>

#include "load.h"

static const size_t narrow[] = {64 * KIB, 3 * KIB, 700 * KIB, 20 * KIB, 320 * KIB, 1536, 112 * KIB};
static const size_t wide[] = {64 * KIB, 512, 2 * MIB, 160, 5 * MIB, 8 * KIB, 1280 * KIB};

// Frees old blocks until `size` more bytes stay within the peak.
static void make_room(struct block_list *old, size_t size, size_t peak_bytes)
{
    while (load_live() + size > peak_bytes) {
        struct block *b = load_pop(old);
        if (!b)
            return;
        load_give(b);
    }
}

static void replace(struct block_list *blocks, size_t size, size_t peak_bytes)
{
    struct block_list fresh = {0};
    for (size_t n = peak_bytes / size; n; n--) {
        make_room(blocks, size, peak_bytes);
        load_push(&fresh, load_take(size));
    }
    load_give_all(blocks);
    *blocks = fresh;
}

int main(int argc, char **argv)
{
    size_t peak_bytes = load_start(argc, argv);
    bool is_wide = argc > 2 && !strcmp(argv[2], "wide");
    const size_t *sizes = is_wide ? wide : narrow;
    size_t n = is_wide ? sizeof wide / sizeof *wide : sizeof narrow / sizeof *narrow;
    struct block_list blocks = {0};
    for (size_t i = 0; i < n; i++)
        replace(&blocks, sizes[i], peak_bytes);
    load_give_all(&blocks);
    load_report();
}
