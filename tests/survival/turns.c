// turns LIVE_MIB - pages go from one kind of request to the next without the kernel.
//
// Near its limit: the live bytes are blocks of one size, and then, as those go, of another that a
// different part of the allocator serves. No phase may fault in three quarters of its pages: the
// room that the limit leaves is one quarter, and the first takes that.

#include <stdio.h>
#include <sys/resource.h>

#include "load.h"

static const size_t sizes[] = {64 * KIB, 512, 8 * KIB, 2 * MIB, 10 * KIB, 96};

static size_t faults(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (size_t)u.ru_minflt;
}

static void replace(struct block_list *blocks, size_t size, size_t bytes)
{
    struct block_list fresh = {0};

    for (size_t i = 0; i < bytes / size; i++) {
        while (blocks->first && load_live() + size > bytes)
            load_give(load_pop(blocks));
        load_push(&fresh, load_take(size));
    }
    load_give_all(blocks);
    *blocks = fresh;
}

int main(int argc, char **argv)
{
    size_t bytes = load_start(argc, argv), pages = bytes / 4096;
    struct block_list blocks = {0};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t before = faults();
        replace(&blocks, sizes[i], bytes);
        size_t taken = faults() - before;
        printf("%zu KiB: %zu faults for %zu pages\n", sizes[i] / KIB, taken, pages);
        fflush(stdout);
        if (i && taken > pages / 4 * 3)
            load_die("pages were given back and taken again");
    }
    load_give_all(&blocks);
    load_report();
}
