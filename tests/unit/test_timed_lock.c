// The lock and the bell of pressure: who waits for them sleeps, and not for ever.

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "pressure/futex_lock.h"

enum { THREADS = 8, ROUNDS = 2000 };

static struct timed_lock lock;
static struct bell bell;
static uint64_t counted; // under the lock
static _Atomic unsigned had, rung;

static void *count_up(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!timed_lock_take(&lock, 600000))
            continue;
        counted++;
        had++;
        sched_yield();
        timed_lock_drop(&lock);
    }
    return NULL;
}

// A wake-up that was lost shows as 10 minutes.
Test(timed_lock, one_at_a_time_and_nobody_sleeps_on, .timeout = 60)
{
    pthread_t t[THREADS];

    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    cr_expect_eq(had, THREADS * ROUNDS);
    cr_expect_eq(counted, THREADS * ROUNDS);
}

Test(timed_lock, a_holder_that_never_lets_go_is_given_up)
{
    cr_assert(timed_lock_try(&lock));
    cr_expect_not(timed_lock_try(&lock));
    cr_expect_not(timed_lock_take(&lock, 5));
    timed_lock_drop(&lock);
    cr_expect(timed_lock_take(&lock, 5));
    // A child of fork() where the holder is not.
    timed_lock_reset(&lock);
    cr_expect(timed_lock_try(&lock));
}

static void *wait_for_bell(void *arg)
{
    uint32_t seen = *(const uint32_t *)arg;

    rung += bell_wait(&bell, seen, 600000);
    return NULL;
}

Test(timed_lock, a_bell_wakes_all_who_wait, .timeout = 60)
{
    uint32_t seen = bell_read(&bell);
    pthread_t t[THREADS];

    cr_expect_not(bell_wait(&bell, seen, 5));
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, wait_for_bell, &seen), 0);
    usleep(20000);
    bell_ring(&bell);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    cr_expect_eq(rung, THREADS);
    cr_expect(bell_wait(&bell, seen, 5), "what rang before is not waited for");
}
