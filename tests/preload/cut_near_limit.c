// While memory is short, a block that realloc() has cut keeps no pages behind what was asked for,
// wherever it was cut before.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LIVE = 61, TRIES = 100, REST_MAX = 16 * KIB / 4096 };

// Pages behind the first `size` bytes.
static size_t resident_rest(unsigned char *p, size_t size)
{
    unsigned char there[512] = {0};
    uintptr_t from = ((uintptr_t)p + size + 4095) & -(uintptr_t)4096;
    uintptr_t to = ((uintptr_t)p + malloc_usable_size(p)) & -(uintptr_t)4096;
    size_t count = 0;

    if (to <= from)
        return 0;
    CHECK(to - from <= 512 * 4096 && mincore((void *)from, to - from, there) == 0, "mincore");
    for (size_t i = 0; i < (to - from) / 4096; i++)
        count += there[i] & 1;
    return count;
}

static bool keeps_none(size_t size, size_t again)
{
    unsigned char *p = memalign(4096, MIB), *q;
    size_t first, second;

    victim_fill(p, MIB, 3);
    q = realloc(p, size);
    first = resident_rest(q, size);
    victim_fill(q, size, 3);
    // Up to its end, and back to another size.
    q = realloc(q, malloc_usable_size(q));
    victim_fill(q, malloc_usable_size(q), 3);
    q = realloc(q, again);
    second = resident_rest(q, again);
    CHECK(victim_intact(q, again, malloc_usable_size(q), 3), "%zu", again);
    free(q);
    return first <= REST_MAX && second <= REST_MAX;
}

int main(void)
{
    static void *live[LIVE];
    int tries = 0;

    for (size_t i = 0; i < LIVE; i++) {
        live[i] = malloc(MIB);
        victim_fill(live[i], MIB, i);
    }
    // Once the library has seen that it is.
    while (!keeps_none(520 * KIB, 530 * KIB) && tries++ < TRIES)
        usleep(100000);
    CHECK(tries < TRIES, "pages stay behind blocks that were cut");
    for (size_t i = 0; i < LIVE; i++)
        CHECK(victim_intact(live[i], MIB, MIB, i), "%zu", i);
    return 0;
}
