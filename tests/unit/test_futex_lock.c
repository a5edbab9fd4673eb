// The lock and the futex_bell of pressure: a thread that waits for them sleeps, and not for ever.

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "pressure/kernel/futex_lock.h"

enum { THREADS = 8, ROUNDS = 2000 };

static struct futex_lock lock;
static struct futex_bell futex_bell;
static uint64_t counted; // under the lock
static _Atomic unsigned had, rung;

static void *count_up(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!futex_lock_take(&lock, 600000))
            continue;
        counted++;
        had++;
        sched_yield();
        futex_lock_drop(&lock);
    }
    return NULL;
}

// A wake-up that was lost shows as 10 minutes.
Test(futex_lock, one_at_a_time_and_nobody_sleeps_on, .timeout = 60)
{
    pthread_t t[THREADS];

    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    cr_expect_eq(had, THREADS * ROUNDS);
    cr_expect_eq(counted, THREADS * ROUNDS);
}

Test(futex_lock, a_holder_that_never_lets_go_is_given_up)
{
    cr_assert(futex_lock_try(&lock));
    cr_expect_not(futex_lock_try(&lock));
    cr_expect_not(futex_lock_take(&lock, 5));
    futex_lock_drop(&lock);
    cr_expect(futex_lock_take(&lock, 5));
    // A child of fork() where the holder is not.
    futex_lock_reset(&lock);
    cr_expect(futex_lock_try(&lock));
}

static void *wait_for_bell(void *arg)
{
    uint32_t seen = *(const uint32_t *)arg;

    rung += futex_bell_wait(&futex_bell, seen, 600000);
    return NULL;
}

Test(futex_lock, a_bell_wakes_all_who_wait, .timeout = 60)
{
    uint32_t seen = futex_bell_read(&futex_bell);
    pthread_t t[THREADS];

    cr_expect_not(futex_bell_wait(&futex_bell, seen, 5));
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, wait_for_bell, &seen), 0);
    usleep(20000);
    futex_bell_ring(&futex_bell);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    cr_expect_eq(rung, THREADS);
    cr_expect(futex_bell_wait(&futex_bell, seen, 5), "what rang before is not waited for");
}
