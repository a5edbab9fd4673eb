// beyond_limit: run with TIDEPOOL_LIMIT=200M TIDEPOOL_ON_LIMIT=enomem. What the limit has no room
// for is refused at every size, those above 4 GiB included, whichever function asks, and the
// program goes on.

#include "tests/preload/victim.h"

#include <malloc.h>

static void *(*mallocx)(size_t, int);
static void *(*rallocx)(void *, size_t, int);
static size_t (*xallocx)(void *, size_t, size_t, int);
static void *(*new_nothrow)(size_t, const void *);

static void bind_names(void)
{
    *(void **)&mallocx = victim_symbol("mallocx");
    *(void **)&rallocx = victim_symbol("rallocx");
    *(void **)&xallocx = victim_symbol("xallocx");
    *(void **)&new_nothrow = victim_symbol("_ZnwmRKSt9nothrow_t");
    CHECK(mallocx && rallocx && xallocx && new_nothrow, "a name is missing");
}

static void *by_posix_memalign(size_t alignment, size_t size)
{
    void *p = NULL;
    return posix_memalign(&p, alignment, size) ? NULL : p;
}

// `old` is a block of 2 MiB. NULL: refused, and then it is still there.
static void *ask(int how, void *old, size_t size)
{
    static const char tag;
    const int in_arena_0 = 1 << 20, no_thread_cache = 1 << 8;

    switch (how) {
    case 0:
        return malloc(size);
    case 1:
        return calloc(size / 16, 16);
    case 2:
        return realloc(old, size);
    case 3:
        return aligned_alloc(64, size);
    case 4:
        return by_posix_memalign(1 << 16, size);
    case 5:
        return memalign(4096, size);
    case 6:
        return mallocx(size, 0);
    case 7:
        return mallocx(size, in_arena_0);
    case 8:
        return mallocx(size, no_thread_cache | 21);
    case 9:
        return rallocx(old, size, 0);
    case 10:
        return rallocx(old, size, no_thread_cache);
    case 11:
        return xallocx(old, size, 0, 0) >= size ? old : NULL;
    case 12:
        return reallocarray(old, size / 16, 16);
    case 13:
        return new_nothrow(size, &tag);
    default:
        return NULL;
    }
}

#define WAYS 14

static void none_grows(void *old, size_t size)
{
    for (int how = 0; how < WAYS; how++) {
        void *much = victim_hide(ask(how, old, size));
        CHECK(!much, "%zu MiB, way %d: %p", size / MIB, how, much);
        CHECK(malloc_usable_size(old) >= 2 * MIB, "the old block, after way %d", how);
    }
}

int main(void)
{
    static const size_t mib[] = {101, 300, 1000, 3000, 3584, 4095, 4096, 4100, 5000, 8000, 100000};
    unsigned char *p = malloc(100 * MIB);
    void *old = malloc(2 * MIB);

    bind_names();
    CHECK(p && old, "102 MiB");
    memset(p, 1, 100 * MIB);
    for (size_t i = 0; i < COUNT(mib); i++) {
        errno = 0;
        void *much = victim_hide(malloc(mib[i] * MIB));
        CHECK(!much && errno == ENOMEM, "%zu MiB: %p, errno %d", mib[i], much, errno);
        none_grows(old, mib[i] * MIB);
    }
    CHECK(malloc(MIB), "1 MiB");
    free(p);
    CHECK(mallocx(60 * MIB, 0), "60 MiB, once there is room");
    old = rallocx(old, 60 * MIB, 0);
    CHECK(old, "and to 60 MiB");
    return 0;
}
