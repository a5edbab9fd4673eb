// A program that uses tidepool.h runs with the library and without it.

#include "tests/preload/victim.h"

#include <malloc.h>

#include "shim/api/tidepool.h"

int main(void)
{
    if (!getenv("LD_PRELOAD") || !strstr(getenv("LD_PRELOAD"), "tidepool")) {
        CHECK(!tidepool_version && !tidepool_acquire && !tidepool_stats, "weak, yet there");
        return 0;
    }
    CHECK(tidepool_version && tidepool_version()[0] >= '0', "tidepool_version");
    for (size_t i = 0; i < COUNT(victim_sizes); i++) {
        size_t usable = 0;
        void *p = tidepool_acquire(victim_sizes[i], &usable);
        CHECK(p && usable >= victim_sizes[i] && usable == malloc_usable_size(p), "%zu: usable %zu",
              victim_sizes[i], usable);
        victim_fill(p, usable, i);
        CHECK(victim_intact(p, usable, usable, i), "%zu", victim_sizes[i]);
        i % 2 ? free(p) : tidepool_release(p);
        tidepool_release(tidepool_acquire(victim_sizes[i], NULL));
        tidepool_release(malloc(victim_sizes[i]));
    }
    tidepool_release(NULL);
    free(malloc(5000));
    CHECK(tidepool_drain() > 0, "nothing to drain after a free");
    CHECK(tidepool_drain() == 0, "drained twice");
    volatile size_t huge = PTRDIFF_MAX;
    errno = 0;
    CHECK(!tidepool_acquire(huge, NULL) && errno == ENOMEM, "errno %d", errno);
    errno = EXDEV;
    tidepool_reclaim(0);
    struct tidepool_bucket b[2];
    CHECK(tidepool_stats(b, 1) >= 1 && tidepool_stats(NULL, 0) >= 1, "tidepool_stats");
    CHECK(errno == EXDEV, "errno %d", errno);
    return 0;
}
