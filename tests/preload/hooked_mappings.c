// Another preloaded library hears each of the program's mapping calls once, and of a block's pages
// before they go back to the kernel, wherever it stands beside the allocator.

#include "tests/preload/lib/hooks.h"
#include "tests/preload/victim.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { TIMES = 10, PAGE = 4096 };

extern struct hooks_heard hooks_heard __attribute__((weak));

static char *map(void)
{
    char *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(at != MAP_FAILED, "errno %d", errno);
    at[0] = 'm';
    return at;
}

static void each_call_once(void)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0, "errno %d", errno);
    for (int i = 0; i < TIMES; i++) {
        char *at = map(), *to = map();
        CHECK(madvise(at, PAGE, MADV_DONTNEED) == 0 && !at[0], "errno %d", errno);
        CHECK(posix_madvise(to, PAGE, POSIX_MADV_DONTNEED) == 0 && to[0], "POSIX keeps data");
        CHECK(mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "errno %d", errno);
        CHECK(munmap(at, 2 * PAGE) == 0, "errno %d", errno);
        CHECK(mmap64(at, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED,
              "errno %d", errno);
        CHECK(setrlimit(RLIMIT_CORE, &limit) == 0, "errno %d", errno);
        CHECK(prlimit(0, RLIMIT_CORE, NULL, &limit) == 0, "errno %d", errno);
    }
}

// Too large for the lists, or trimmed from them.
static void pages_of_blocks_go(size_t size)
{
    char *block = malloc(size);

    memset(block, 'b', size);
    hooks_heard.watched = block + size / 2;
    hooks_heard.gone = 0;
    free(block);
    malloc_trim(0);
    CHECK(hooks_heard.gone > 0, "%zu bytes went back unheard", size);
}

int main(void)
{
    CHECK(&hooks_heard, "hooks.so is not preloaded");
    struct hooks_heard before = hooks_heard;
    each_call_once();
    struct hooks_heard *h = &hooks_heard;
    CHECK(h->mmap - before.mmap == 2 * TIMES, "%u", h->mmap - before.mmap);
    CHECK(h->mmap64 - before.mmap64 == TIMES, "%u", h->mmap64 - before.mmap64);
    CHECK(h->munmap - before.munmap == TIMES, "%u", h->munmap - before.munmap);
    CHECK(h->mremap - before.mremap == TIMES, "%u", h->mremap - before.mremap);
    CHECK(h->madvise - before.madvise == TIMES, "%u", h->madvise - before.madvise);
    CHECK(h->posix_madvise - before.posix_madvise == TIMES, "%u", h->posix_madvise);
    CHECK(h->setrlimit - before.setrlimit == TIMES, "%u", h->setrlimit);
    CHECK(h->prlimit - before.prlimit == TIMES, "%u", h->prlimit);
    for (size_t allocate = 0; allocate < 20000; allocate += 6000) {
        hooks_heard.allocate = allocate;
        for (size_t i = 0; i < COUNT(victim_sizes); i++)
            if (victim_sizes[i] >= 64 * KIB)
                pages_of_blocks_go(victim_sizes[i]);
    }
    return 0;
}
