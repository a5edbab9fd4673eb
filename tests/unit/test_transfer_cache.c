// The transfer cache alone: a block is a number here, and need not exist.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "pool/common/size_class.h"
#include "pool/thread_cache/transfer_cache.h"

#define MANY 5000 // more than a page has room for

static bool put(unsigned class, uint32_t first, uint32_t count)
{
    uint32_t units[MANY];

    for (uint32_t i = 0; i < count; i++)
        units[i] = first + i;
    return transfer_put(class, units, count);
}

// Takes `max`, and expects first, first + 1 and so on.
static bool takes(uint32_t (*take)(unsigned, uint32_t *, uint32_t), unsigned class, uint32_t max,
                  uint32_t first, uint32_t count)
{
    uint32_t units[MANY];
    bool right = take(class, units, max) == count;

    for (uint32_t i = 0; right && i < count; i++)
        right = units[i] == first + i;
    return right;
}

Test(transfer_cache, an_empty_shelf_gives_nothing)
{
    for (unsigned class = 1; class < SIZE_CLASS_END; class ++) {
        cr_expect(takes(transfer_take, class, 9, 0, 0));
        cr_expect(takes(transfer_take_oldest, class, 9, 0, 0));
        cr_expect(eq(u64, transfer_count(class), 0));
        cr_expect(eq(u64, transfer_idle(class), 0));
    }
}

Test(transfer_cache, gives_the_latest_first_and_the_oldest_on_demand)
{
    cr_assert(put(7, 1, 10) && put(7, 11, 90));
    cr_expect(eq(u64, transfer_count(7), 100));
    cr_expect(takes(transfer_take, 7, 30, 71, 30));
    cr_expect(takes(transfer_take_oldest, 7, 15, 1, 15));
    cr_expect(takes(transfer_take, 7, 50, 21, 50));
    cr_expect(takes(transfer_take, 7, 50, 16, 5), "what there is");
    cr_expect(takes(transfer_take, 7, 50, 0, 0));
    cr_expect(eq(u64, transfer_count(7), 0));
}

Test(transfer_cache, classes_do_not_meet)
{
    cr_assert(put(1, 11, 1) && put(SIZE_CLASS_COUNT, 12, 2));
    cr_expect(takes(transfer_take, 2, 9, 0, 0));
    cr_expect(takes(transfer_take, SIZE_CLASS_COUNT, 9, 12, 2));
    cr_expect(takes(transfer_take, 1, 9, 11, 1));
}

Test(transfer_cache, a_shelf_grows_as_it_has_to)
{
    // From a ring that has gone round: its end lies before its beginning.
    cr_assert(put(3, 1, 1000));
    cr_assert(takes(transfer_take_oldest, 3, 900, 1, 900));
    cr_assert(put(3, 1001, 800));
    cr_assert(put(3, 1801, MANY - 1800));
    cr_expect(eq(u64, transfer_count(3), MANY - 900));
    cr_expect(takes(transfer_take_oldest, 3, 1000, 901, 1000));
    cr_expect(takes(transfer_take, 3, MANY, 1901, MANY - 1900));
}

Test(transfer_cache, where_there_is_no_memory_for_it_nothing_is_shelved)
{
    const struct rlimit none = {0, 0};

    cr_assert(put(3, 1, 1000));
    errno = EDOM;
    cr_assert(eq(int, setrlimit(RLIMIT_AS, &none), 0));
    cr_expect(not(put(3, 1001, 100)));
    cr_expect(put(4, 1, 100) && !put(4, 101, 100));
    cr_expect(eq(int, errno, EDOM));
    cr_expect(put(3, 1001, 24));
    cr_expect(takes(transfer_take, 3, MANY, 1, 1024));
}

Test(transfer_cache, goes_round_its_ring_many_times)
{
    // Some in at the top, some out at the bottom: both ends pass the end of the array.
    cr_assert(put(5, 1, 30));
    for (uint32_t i = 31; i < 30 * MANY; i += 30) {
        cr_assert(put(5, i, 30));
        cr_assert(takes(transfer_take_oldest, 5, 30, i - 30, 30));
    }
    cr_expect(eq(u64, transfer_count(5), 30));
}

Test(transfer_cache, an_empty_shelf_is_tidied_away)
{
    cr_assert(put(5, 1, MANY) && put(6, 1, 10));
    cr_assert(takes(transfer_take, 5, MANY, 1, MANY));
    transfer_tidy();
    cr_expect(takes(transfer_take, 5, 9, 0, 0));
    cr_expect(put(5, 1, 10));
    cr_expect(takes(transfer_take_oldest, 5, 10, 1, 10));
    cr_expect(takes(transfer_take, 6, 10, 1, 10));
}

Test(transfer_cache, idle_is_what_was_never_needed_since_the_last_look)
{
    cr_assert(put(9, 1, 6));
    // They came after the last ageing, so that the class once held none.
    cr_expect(eq(u64, transfer_idle(9), 0));
    cr_expect(eq(u64, transfer_idle(9), 6));
    // Two were taken and put back: four lay still.
    cr_expect(takes(transfer_take, 9, 2, 5, 2));
    cr_assert(put(9, 5, 2));
    cr_expect(eq(u64, transfer_idle(9), 4));
    cr_expect(eq(u64, transfer_idle(9), 6));
    // What went from the other end counts as needed, too.
    cr_expect(takes(transfer_take_oldest, 9, 1, 1, 1));
    cr_expect(eq(u64, transfer_idle(9), 5));
}

enum { THREADS = 8, TURNS = 200000, EACH = 3000 };

static void *shuffle(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    uint32_t units[100];

    for (int turn = 0; turn < TURNS; turn++) {
        unsigned class = 1 + (unsigned)turn / 64 % 3;
        uint32_t max = (uint32_t)rand_r(&seed) % 100;
        uint32_t count = rand_r(&seed) % 2 ? transfer_take(class, units, max)
                                           : transfer_take_oldest(class, units, max);
        cr_assert(count <= max && transfer_put(class, units, count));
        if (turn % 1024 == 0)
            transfer_tidy();
    }
    return NULL;
}

// Each block has a number of its own, so one that was given twice, or lost, is missed.
Test(transfer_cache, eight_threads_neither_lose_nor_double_a_block)
{
    pthread_t t[THREADS];

    for (unsigned class = 1; class <= 3; class ++)
        cr_assert(put(class, 0, EACH));
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert(eq(int, pthread_create(&t[i], NULL, shuffle, (void *)(i + 1)), 0));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (unsigned class = 1; class <= 3; class ++) {
        bool seen[EACH] = {false};
        uint32_t unit;
        cr_expect(eq(u64, transfer_count(class), EACH));
        while (transfer_take(class, &unit, 1)) {
            cr_assert(unit < EACH && !seen[unit]);
            seen[unit] = true;
        }
        for (int i = 0; i < EACH; i++)
            cr_expect(seen[i]);
    }
}

Test(transfer_cache, works_after_all_locks_were_taken_and_let_go)
{
    cr_assert(put(4, 1, 1));
    transfer_lock_all();
    transfer_unlock_all();
    cr_expect(takes(transfer_take, 4, 9, 1, 1));
}
