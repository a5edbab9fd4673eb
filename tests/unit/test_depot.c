// Shelves alone: a batch is two numbers here, and the blocks that it names need not exist.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "pool/depot.h"
#include "pool/size_class.h"

#define SHELF_FULL 128 // batches, as depot.c has it

static bool put(unsigned class, uint32_t head, uint32_t count)
{
    return depot_put(class, (struct batch){head, count});
}

static bool is(struct batch b, uint32_t head, uint32_t count)
{
    return b.head == head && b.count == count;
}

Test(depot, an_empty_shelf_gives_nothing)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++) {
        cr_expect(is(depot_get(class), 0, 0));
        cr_expect(is(depot_get_oldest(class), 0, 0));
        cr_expect(eq(u64, depot_count(class), 0));
        cr_expect(eq(u32, depot_idle_batches(class), 0));
    }
}

Test(depot, gives_the_latest_first_and_the_oldest_on_demand)
{
    for (uint32_t i = 1; i <= 5; i++)
        cr_assert(put(7, i, 10 * i));
    cr_expect(eq(u64, depot_count(7), 150));
    cr_expect(is(depot_get(7), 5, 50));
    cr_expect(is(depot_get_oldest(7), 1, 10));
    cr_expect(is(depot_get_oldest(7), 2, 20));
    cr_expect(is(depot_get(7), 4, 40));
    cr_expect(is(depot_get(7), 3, 30));
    cr_expect(is(depot_get(7), 0, 0));
    cr_expect(eq(u64, depot_count(7), 0));
}

Test(depot, classes_do_not_meet)
{
    cr_assert(put(1, 11, 1));
    cr_assert(put(SIZE_CLASS_COUNT, 12, 2));
    cr_expect(is(depot_get(2), 0, 0));
    cr_expect(is(depot_get(SIZE_CLASS_COUNT), 12, 2));
    cr_expect(is(depot_get(1), 11, 1));
}

Test(depot, a_full_shelf_refuses_and_loses_nothing)
{
    for (uint32_t i = 1; i <= SHELF_FULL; i++)
        cr_assert(put(3, i, 1));
    cr_expect(not(put(3, SHELF_FULL + 1, 1)));
    cr_expect(eq(u64, depot_count(3), SHELF_FULL));
    for (uint32_t i = 1; i <= SHELF_FULL; i++)
        cr_assert(is(depot_get_oldest(3), i, 1));
    cr_expect(is(depot_get(3), 0, 0));
}

Test(depot, goes_round_its_shelf_many_times)
{
    // One in at the top, one out at the bottom: both ends pass the end of the array.
    for (uint32_t i = 1; i <= 3; i++)
        cr_assert(put(5, i, i));
    for (uint32_t i = 4; i < 5 * SHELF_FULL; i++) {
        cr_assert(put(5, i, i));
        cr_assert(is(depot_get_oldest(5), i - 3, i - 3));
    }
    cr_expect(is(depot_get(5), 5 * SHELF_FULL - 1, 5 * SHELF_FULL - 1));
}

Test(depot, idle_is_what_was_never_needed_since_the_last_look)
{
    for (uint32_t i = 1; i <= 6; i++)
        cr_assert(put(9, i, 1));
    // They came after the last look, so that the shelf once held none.
    cr_expect(eq(u32, depot_idle_batches(9), 0));
    cr_expect(eq(u32, depot_idle_batches(9), 6));
    // Two were taken and put back: four lay still.
    depot_get(9), depot_get(9);
    cr_assert(put(9, 5, 1) && put(9, 6, 1));
    cr_expect(eq(u32, depot_idle_batches(9), 4));
    cr_expect(eq(u32, depot_idle_batches(9), 6));
    // What went from the other end counts as needed, too.
    depot_get_oldest(9);
    cr_expect(eq(u32, depot_idle_batches(9), 5));
}

enum { THREADS = 8, TURNS = 200000 };

static void *shuffle(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int turn = 0; turn < TURNS; turn++) {
        unsigned class = 1 + (unsigned)turn / 64 % 3;
        struct batch b = rand_r(&seed) % 2 ? depot_get(class) : depot_get_oldest(class);
        // The shelf was never fuller than it is now: a batch that it refuses is missed below.
        if (b.count)
            depot_put(class, b);
    }
    return NULL;
}

// Each batch has a number of its own, so one that was given twice, or lost, is missed.
Test(depot, eight_threads_neither_lose_nor_double_a_batch)
{
    enum { EACH = 120 };
    pthread_t t[THREADS];

    for (unsigned class = 1; class <= 3; class ++)
        for (uint32_t i = 1; i <= EACH; i++)
            cr_assert(put(class, i, i));
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert(eq(int, pthread_create(&t[i], NULL, shuffle, (void *)(i + 1)), 0));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (unsigned class = 1; class <= 3; class ++) {
        bool seen[EACH + 1] = {false};
        cr_expect(eq(u64, depot_count(class), EACH * (EACH + 1) / 2));
        for (struct batch b; (b = depot_get(class)).count;) {
            cr_assert(b.head == b.count && b.head <= EACH && !seen[b.head]);
            seen[b.head] = true;
        }
        for (int i = 1; i <= EACH; i++)
            cr_expect(seen[i]);
        cr_expect(eq(u64, depot_count(class), 0));
    }
}

Test(depot, works_after_all_locks_were_taken_and_let_go)
{
    cr_assert(put(4, 1, 1));
    depot_lock_all();
    depot_unlock_all();
    cr_expect(is(depot_get(4), 1, 1));
}
