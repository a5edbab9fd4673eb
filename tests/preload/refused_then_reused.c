// A request that no allocator could serve says nothing about memory: what comes after it is reused
// as before.

#include "tests/preload/victim.h"

#include "shim/api/tidepool.h"

static uint64_t reused(void)
{
    struct tidepool_bucket b[16];
    uint64_t sum = 0;
    unsigned n = tidepool_stats ? tidepool_stats(b, 16) : 0;
    CHECK(n > 0 && n <= 16, "%u buckets: is the library preloaded?", n);
    for (unsigned i = 0; i < n; i++)
        sum += b[i].reused;
    return sum;
}

int main(void)
{
    volatile size_t refused[] = {PTRDIFF_MAX, (size_t)1 << 60, SIZE_MAX - 100};
    for (size_t i = 0; i < COUNT(refused); i++) {
        void *p = malloc(refused[i]);
        CHECK(!p, "%zu bytes", refused[i]);
        uint64_t before = reused();
        for (int j = 0; j < 100; j++)
            free(malloc(5000));
        CHECK(reused() - before >= 90, "after malloc(%zu), of 100 requests %d found a block",
              refused[i], (int)(reused() - before));
    }
    return 0;
}
