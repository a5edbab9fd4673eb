// history - what a long-lived process has behind it when a row begins: BENCH_HISTORY=1.
//
// Four threads fill up to 10,000 blocks of every size that has a class, 128 MiB of them at most,
// and each time the next thread frees them; then three shifts of size, in which each thread fills
// and the next frees 128 MiB. These threads and twelve more, which have freed 1,000 blocks of mixed
// sizes, sleep from then on. Of a block only the first word is written.
#pragma once

#include "harness.h"

#include <pthread.h>

enum {
    HISTORY_THREADS = 4,
    HISTORY_SLEEPERS = 12,
    HISTORY_BLOCKS = 10000,
    HISTORY_BYTES = 128 << 20, // a thread
    HISTORY_CLASSES = 41,      // four a doubling, 1K to 1M
};

static void *history_block[HISTORY_THREADS][HISTORY_BLOCKS];
static pthread_barrier_t history_step, history_end;

static inline void history_fill(void **block, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++)
        *(uint64_t *)(block[i] = take(size)) = i;
}

static inline void history_free(void **block, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(block[i]);
}

static inline void history_hand_on(size_t self, size_t size)
{
    size_t count = HISTORY_BYTES / size < HISTORY_BLOCKS ? HISTORY_BYTES / size : HISTORY_BLOCKS;

    history_fill(history_block[self], count, size);
    pthread_barrier_wait(&history_step);
    history_free(history_block[(self + 1) % HISTORY_THREADS], count);
    pthread_barrier_wait(&history_step);
}

_Noreturn static inline void history_sleep(void)
{
    pthread_barrier_wait(&history_end);
    for (;;)
        pause();
}

static inline void *history_worker(void *arg)
{
    static const size_t shifts[] = {3 << 10, 24 << 10, 300 << 10};

    for (size_t i = 0; i < HISTORY_CLASSES; i++)
        history_hand_on((size_t)(uintptr_t)arg, ((i + 3) % 4 + 5) << ((i + 3) / 4 + 7));
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++)
        history_hand_on((size_t)(uintptr_t)arg, shifts[i]);
    history_sleep();
}

static inline void *history_sleeper(void *arg)
{
    void *block[1000];
    uint64_t state = (uintptr_t)arg * 2654435761u;

    for (size_t i = 0; i < 1000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        *(uint64_t *)(block[i] = take(((size_t)1024 << (state >> 60) % 10) + (state >> 54))) = i;
    }
    history_free(block, 1000);
    history_sleep();
}

static inline void make_history(void)
{
    const char *wanted = getenv("BENCH_HISTORY");
    pthread_t thread;

    if (!wanted || strcmp(wanted, "1") != 0)
        return;
    pthread_barrier_init(&history_step, NULL, HISTORY_THREADS);
    pthread_barrier_init(&history_end, NULL, HISTORY_THREADS + HISTORY_SLEEPERS + 1);
    for (uintptr_t i = 0; i < HISTORY_THREADS; i++)
        if (pthread_create(&thread, NULL, history_worker, (void *)i))
            die("pthread_create");
    for (uintptr_t i = 1; i <= HISTORY_SLEEPERS; i++)
        if (pthread_create(&thread, NULL, history_sleeper, (void *)i))
            die("pthread_create");
    pthread_barrier_wait(&history_end);
}
