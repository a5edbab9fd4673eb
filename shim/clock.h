// clock - what a clock says, in whole units, and short sleeps. Below all folders; any thread,
// signal handlers too.
#ifndef TIDEPOOL_SHIM_CLOCK_H
#define TIDEPOOL_SHIM_CLOCK_H

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_us(clockid_t clock)
{
    return clock_ns(clock) / 1000;
}

static inline uint64_t clock_ms(clockid_t clock)
{
    return clock_ns(clock) / 1000000;
}

// Of the clock that deadlines go by.
static inline uint64_t clock_now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

// Sleeps for less than a second; a signal ends it early. Not nanosleep(): that is a point of
// cancellation, and others may interpose it. May change errno.
static inline void clock_nap_us(unsigned us)
{
    const struct timespec t = {0, (long)us * 1000};

    syscall(SYS_nanosleep, &t, NULL);
}

#endif
