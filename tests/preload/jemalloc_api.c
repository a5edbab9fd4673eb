// Programs linked with jemalloc (Debian's redis is one) call its own names on the same blocks as
// malloc and free: every maker, resizer, sizer and taker of both families is mixed here.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>

// From jemalloc's public header, which need not be installed.
#define LG_ALIGN(lg) (lg)
#define ZERO 0x40
#define TCACHE_NONE (1 << 8)

static void *(*mallocx)(size_t, int);
static void *(*rallocx)(void *, size_t, int);
static size_t (*xallocx)(void *, size_t, size_t, int);
static size_t (*sallocx)(const void *, int);
static void (*dallocx)(void *, int);
static void (*sdallocx)(void *, size_t, int);
static size_t (*nallocx)(size_t, int);
static int (*mallctl)(const char *, void *, size_t *, void *, size_t);
static int (*mallctlnametomib)(const char *, size_t *, size_t *);
static int (*mallctlbymib)(const size_t *, size_t, void *, size_t *, void *, size_t);
static void (*stats_print)(void (*)(void *, const char *), void *, const char *);

static void bind_names(void)
{
    const struct {
        void *where;
        const char *name;
    } names[] = {
        {&mallocx, "mallocx"},
        {&rallocx, "rallocx"},
        {&xallocx, "xallocx"},
        {&sallocx, "sallocx"},
        {&dallocx, "dallocx"},
        {&sdallocx, "sdallocx"},
        {&nallocx, "nallocx"},
        {&mallctl, "mallctl"},
        {&mallctlbymib, "mallctlbymib"},
        {&mallctlnametomib, "mallctlnametomib"},
        {&stats_print, "malloc_stats_print"},
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        void *p = victim_symbol(names[i].name);
        CHECK(p, "no %s", names[i].name);
        memcpy(names[i].where, &p, sizeof p);
    }
}

static const int flag_sets[] = {0,
                                ZERO,
                                LG_ALIGN(6),
                                LG_ALIGN(12),
                                LG_ALIGN(12) | ZERO,
                                TCACHE_NONE,
                                LG_ALIGN(16) | TCACHE_NONE | ZERO};

static void *make(size_t how, size_t size)
{
    return how == COUNT(flag_sets) ? malloc(size) : mallocx(size, flag_sets[how]);
}

static void take(size_t how, void *p, size_t size)
{
    switch (how % 5) {
    case 0:
        free(p);
        break;
    case 1:
        dallocx(p, 0);
        break;
    case 2:
        dallocx(p, TCACHE_NONE);
        break;
    case 3:
        free(realloc(p, size + 1));
        break;
    case 4:
        dallocx(rallocx(p, size / 2 + 1, 0), 0);
        break;
    }
}

static void mixed(size_t how, size_t size)
{
    int flags = how == COUNT(flag_sets) ? 0 : flag_sets[how];
    size_t align = (size_t)1 << (flags & 0x3f);
    for (size_t taker = 0; taker < 5; taker++) {
        // Dirt first, so that ZERO has something to do.
        void *d = malloc(size);
        memset(d, 0xa5, malloc_usable_size(d));
        free(d);
        unsigned char *p = make(how, size);
        CHECK(p && (uintptr_t)p % align == 0, "way %zu, size %zu: %p", how, size, (void *)p);
        CHECK(!(flags & ZERO) || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0), "way %zu, %zu",
              how, size);
        CHECK(sallocx(p, flags) == malloc_usable_size(p), "way %zu, size %zu: %zu and %zu", how,
              size, sallocx(p, flags), malloc_usable_size(p));
        CHECK(sallocx(p, flags) >= size, "way %zu, size %zu", how, size);
        victim_fill(p, size, size);
        size_t now = xallocx(p, 2 * size, 0, flags);
        CHECK(now >= size && now == malloc_usable_size(p), "xallocx(%zu): %zu", size, now);
        CHECK(victim_intact(p, size, size, size), "way %zu, size %zu", how, size);
        p = rallocx(p, 3 * size, flags & ~ZERO);
        CHECK(p && (uintptr_t)p % align == 0, "rallocx, way %zu, size %zu", how, size);
        CHECK(victim_intact(p, size, size, size), "rallocx, way %zu, size %zu", how, size);
        take(taker, p, 3 * size);
    }
    void *p = make(how, size);
    sdallocx(p, size, flags & ~ZERO);
}

// Growing by rallocx with ZERO: what was not asked for before reads as zero.
static void grown_tail_is_zero(size_t size)
{
    unsigned char *p = mallocx(size, ZERO);
    memset(p, 1, size);
    p = rallocx(p, 4 * size, ZERO);
    size_t usable = sallocx(p, 0);
    for (size_t i = 0; i < usable; i++)
        CHECK(p[i] == (i < size), "byte %zu of %zu, grown from %zu", i, usable, size);
    dallocx(p, 0);
}

static void sizes_are_foretold(size_t size)
{
    size_t n = nallocx(size, 0);
    void *p = mallocx(size, 0);
    CHECK(n == sallocx(p, 0), "%zu: nallocx %zu, sallocx %zu", size, n, sallocx(p, 0));
    // The whole usable size may be named when the block is given back.
    sdallocx(p, n, 0);
}

// Of a block that was sampled as well. One of each 512 requests for 8 bytes is, at 4K.
static void each_is_foretold(size_t size)
{
    size_t n = nallocx(size, 0);

    for (int i = 0; i < 4096; i++) {
        sizes_are_foretold(size);
        void *p = malloc(size);
        CHECK(malloc_usable_size(p) == n, "malloc(%zu): %zu, not %zu", size, malloc_usable_size(p),
              n);
        free(p);
    }
}

static void controls_answer(void)
{
    const char *version = NULL;
    size_t size = sizeof version;
    CHECK(mallctl("version", &version, &size, NULL, 0) == 0 && version[0], "mallctl version");
    size_t mib[4], depth = COUNT(mib), allocated = 0;
    uint64_t epoch = 1;
    size = sizeof epoch;
    CHECK(mallctl("epoch", &epoch, &size, &epoch, sizeof epoch) == 0, "mallctl epoch");
    CHECK(mallctlnametomib("stats.allocated", mib, &depth) == 0, "mallctlnametomib");
    size = sizeof allocated;
    CHECK(mallctlbymib(mib, depth, &allocated, &size, NULL, 0) == 0 && allocated > 0,
          "mallctlbymib");
    CHECK(mallctl("no.such.name", NULL, NULL, NULL, 0) == ENOENT, "mallctl of no name");
    // What redis and others do to give memory back.
    CHECK(mallctl("arena.0.purge", NULL, NULL, NULL, 0) == 0, "mallctl purge");
    CHECK(mallctl("thread.tcache.flush", NULL, NULL, NULL, 0) == 0, "mallctl flush");
}

static bool caches(void)
{
    bool are = false;
    size_t size = sizeof are;
    CHECK(mallctl("thread.tcache.enabled", &are, &size, NULL, 0) == 0, "thread.tcache.enabled");
    return are;
}

// A thread that wants no caches, before its first request, gets none however much it asks for.
static void *switches_caches(void *arg)
{
    bool off = false;
    CHECK(caches(), "none at the start");
    CHECK(mallctl("thread.tcache.flush", NULL, NULL, NULL, 0) == 0, "no flush at the start");
    CHECK(mallctl("thread.tcache.enabled", NULL, NULL, &off, sizeof off) == 0, "cannot be off");
    for (int i = 0; i < 10000; i++)
        free(malloc(100));
    CHECK(!caches(), "on again");
    return arg;
}

static void threads_switch_caches(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, switches_caches, NULL) == 0, "no thread");
    pthread_join(thread, NULL);
}

static void count_bytes(void *total, const char *text)
{
    *(size_t *)total += strlen(text);
}

// No slab of a small size is so small that it comes and goes with a few blocks.
static void slabs_hold_many(void)
{
    unsigned bins = 0;
    size_t size = sizeof bins;

    CHECK(mallctl("arenas.nbins", &bins, &size, NULL, 0) == 0 && bins > 20, "%u bins", bins);
    for (unsigned bin = 0; bin < bins; bin++) {
        char name[40];
        size_t bytes = 0;
        uint32_t blocks = 0;
        snprintf(name, sizeof name, "arenas.bin.%u.size", bin);
        size = sizeof bytes;
        CHECK(mallctl(name, &bytes, &size, NULL, 0) == 0, "%s", name);
        snprintf(name, sizeof name, "arenas.bin.%u.nregs", bin);
        size = sizeof blocks;
        CHECK(mallctl(name, &blocks, &size, NULL, 0) == 0, "%s", name);
        CHECK(bytes > 1024 || blocks >= 16, "%u blocks of %zu bytes in a slab", blocks, bytes);
    }
}

int main(void)
{
    bind_names();
    slabs_hold_many();
    for (size_t how = 0; how <= COUNT(flag_sets); how++)
        for (size_t s = 0; s < COUNT(victim_sizes); s++)
            mixed(how, victim_sizes[s]);
    for (size_t s = 0; s < COUNT(victim_sizes); s++) {
        grown_tail_is_zero(victim_sizes[s]);
        sizes_are_foretold(victim_sizes[s]);
    }
    for (size_t size = 1; size < 1024; size = size * 3 / 2 + 1)
        each_is_foretold(size);
    controls_answer();
    threads_switch_caches();
    size_t total = 0;
    stats_print(count_bytes, &total, NULL);
    CHECK(total > 1000, "malloc_stats_print wrote %zu bytes", total);
    return 0;
}
