// small_beyond_limit: run with TIDEPOOL_LIMIT=100M TIDEPOOL_ON_LIMIT=enomem:1. Blocks of 16 to 900
// bytes end with ENOMEM before the limit does, what was freed is there to be had again, and threads
// at the limit go on.

#include "tests/preload/victim.h"

#include <pthread.h>

enum { BLOCKS = 400000, THREADS = 4, OF_EACH = BLOCKS / THREADS };

static void *block[BLOCKS];

// How many bytes it got until it was refused.
static size_t fill(void **at, size_t count, uint64_t seed)
{
    size_t got = 0;

    for (size_t i = 0; i < count; i++) {
        size_t size = 16 + victim_random(&seed) % 885;
        errno = 0;
        if (!(at[i] = malloc(size))) {
            CHECK(errno == ENOMEM, "errno is %d", errno);
            break;
        }
        memset(at[i], 1, size);
        got += size;
    }
    return got;
}

static void release(void **at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(at[i]);
        at[i] = NULL;
    }
}

static void *fill_again_and_again(void *at)
{
    for (int i = 0; i < 4; i++) {
        fill(at, OF_EACH, 1);
        release(at, OF_EACH);
    }
    return NULL;
}

int main(void)
{
    pthread_t thread[THREADS];

    for (int round = 0; round < 3; round++) {
        size_t got = fill(block, BLOCKS, 1);
        CHECK(got < 100 * MIB, "%zu MiB", got / MIB);
        CHECK(got > 75 * MIB, "refused at %zu MiB, in round %d", got / MIB, round);
        void *last = block[0];
        free(last);
        CHECK(block[0] = malloc(16), "16 bytes, after a free");
        release(block, BLOCKS);
    }
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, fill_again_and_again, &block[i * OF_EACH]) == 0,
              "thread");
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK(malloc(MIB), "1 MiB, once there is room");
    return 0;
}
