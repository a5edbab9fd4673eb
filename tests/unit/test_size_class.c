// Every request size in steps of 64, and the sizes beside every bound, against the definition
// written down once more, the slow way: the smallest block that is large enough, four a doubling.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/common/size_class.h"

#define K ((size_t)1024)

// The runs of jemalloc: each power of two, and three steps of a quarter of it on the way up.
static size_t smallest_run(size_t size)
{
    for (size_t power = K;; power *= 2)
        for (size_t run = power; run < 2 * power; run += power / 4)
            if (run >= size)
                return run;
}

// Criterion's assertions are slow: 10^5 of them take seconds.
#define CHECK(x, size)                                                                             \
    do {                                                                                           \
        if (!(x))                                                                                  \
            cr_fail("%s for a request of %zu", #x, (size_t)(size));                                \
    } while (0)

static void check(size_t size)
{
    unsigned class = size_class_of(size);
    size_t run = smallest_run(size);
    bool spare = run >= 16 * K && run - size >= K;

    CHECK(class >= 1 && class < SIZE_CLASS_END, size);
    CHECK(size_class_run_bytes(class) == run, size);
    CHECK(size_class_is_coloured(class) == spare, size);
    CHECK(size_class_bytes(class) == run - (spare ? K : 0), size);
    CHECK(size_class_bytes(class) >= size, size);
    // The run below would not do, or the slack is more than a fifth of the block.
    CHECK((run - size) * 5 <= run, size);
}

TestSuite(size_class, .init = size_class_init);

Test(size_class, every_64th_size_gets_the_smallest_block_that_holds_it)
{
    for (size_t size = K; size <= K * K; size += 64)
        check(size);
}

Test(size_class, sizes_beside_every_bound_get_the_smallest_block_that_holds_them)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++)
        for (int step = -1; step <= 1; step++) {
            size_t size = size_class_bytes(class) + (size_t)(ptrdiff_t)step;
            if (size >= SIZE_CLASS_MIN_BYTES && size <= SIZE_CLASS_MAX_BYTES)
                check(size);
        }
}

Test(size_class, the_class_below_does_not_hold_the_request)
{
    for (unsigned class = 2; class <= SIZE_CLASS_PLAIN; class ++) {
        size_t below = size_class_bytes(class - 1);
        CHECK(below < size_class_bytes(class), below);
        CHECK(size_class_run_bytes(size_class_of(below + 1)) == size_class_run_bytes(class), below);
    }
}

Test(size_class, every_class_serves_its_own_size)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++)
        CHECK(size_class_of(size_class_bytes(class)) == class, size_class_bytes(class));
}

Test(size_class, bounds_are_those_of_the_head)
{
    cr_expect(eq(sz, size_class_bytes(1), SIZE_CLASS_MIN_BYTES));
    cr_expect(eq(sz, size_class_bytes(SIZE_CLASS_PLAIN), SIZE_CLASS_MAX_BYTES));
    cr_expect(eq(uint, size_class_of(SIZE_CLASS_MIN_BYTES), 1));
    cr_expect(eq(uint, size_class_of(SIZE_CLASS_MAX_BYTES), SIZE_CLASS_PLAIN));
}

Test(size_class, a_twin_takes_the_same_run_and_gives_a_kibibyte_away)
{
    for (unsigned twin = SIZE_CLASS_PLAIN + 1; twin < SIZE_CLASS_END; twin++) {
        unsigned plain = twin - SIZE_CLASS_COLOURED;
        CHECK(size_class_is_coloured(twin) && !size_class_is_coloured(plain), twin);
        CHECK(size_class_run_bytes(twin) == size_class_run_bytes(plain), twin);
        CHECK(size_class_bytes(twin) == size_class_bytes(plain) - K, twin);
    }
}

Test(size_class, what_is_no_block_size_has_no_twin)
{
    // Below 16 KiB nothing is coloured, however little of the block is asked for.
    for (size_t size = K; size <= 14 * K; size++)
        CHECK(!size_class_is_coloured(size_class_of(size)), size);
}
