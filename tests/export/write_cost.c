// What one write of the text file costs: time, and calls of the heap, which must be none.
//
//     write_cost FOLDER [THREADS [NEIGHBOURS]]
//
// The process has 6 buckets, THREADS idle threads with a cache each, and NEIGHBOURS other files in
// the folder, which is listed twice in an interval by one of them all. Prints medians, no verdict
// on time; ends with 1 if anything was allocated. malloc and its like are defined here, in front of
// libc's, so that a call from anywhere in the process is counted.

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "export/labels.h"
#include "export/metrics.h"
#include "export/textfile/folder.h"
#include "export/textfile/place.h"
#include "export/textfile/reap.h"
#include "export/textfile/textfile.h"
#include "pool/common/je.h"
#include "pool/pool.h"
#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "tests/unit/pressure_grow.h"

#define WRITES 2000
#define THREADS_MAX 1000

static _Atomic unsigned long heap_calls;

void *malloc(size_t size)
{
    heap_calls++;
    return je_malloc(size);
}

void free(void *ptr)
{
    heap_calls++;
    je_free(ptr);
}

void *calloc(size_t count, size_t size)
{
    heap_calls++;
    return je_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
    heap_calls++;
    return je_realloc(ptr, size);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static sem_t ready, end;

static void *idle(void *unused)
{
    (void)unused;
    for (size_t size = 1024; size <= 1 << 20; size *= 2) {
        void *block = pool_get_new(size, false);
        if (block && !pool_put(block))
            pool_put_slow(block);
    }
    sem_post(&ready);
    sem_wait(&end);
    return NULL;
}

static void complain(const char *text)
{
    fprintf(stderr, "%s\n", text);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

// Of processes that cannot be judged here: the most that a file costs the process that removes it.
static void add_neighbours(const char *dir, int count)
{
    struct place_line line = {.who = {.start = 1, .pidns = 1, .boot = "elsewhere"},
                              .interval_ms = 900000};
    struct identity named;

    identity_read(&named);
    for (int i = 0; i < count; i++) {
        char name[PLACE_NAME_MAX], path[4200], text[PLACE_LINE_MAX];
        struct out o = out_begin(text, sizeof text, "");
        named.pid = line.who.pid = 900000000 + i;
        place_name(name, &named, false);
        place_write_line(&o, &line);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        FILE *f = fopen(path, "w");
        if (f && fwrite(text, (size_t)(o.at - text), 1, f) + (fclose(f) == 0) == 2)
            continue;
        perror(path);
        exit(1);
    }
}

static void print(const char *what, uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof *ns, by_size);
    printf("%-28s median %7.1f us   99 %% %7.1f us   worst %7.1f us\n", what,
           (double)ns[count / 2] / 1000, (double)ns[count * 99 / 100] / 1000,
           (double)ns[count - 1] / 1000);
}

int main(int argc, char **argv)
{
    static const struct quota_bucket buckets[] = {
        {1 << 10, 500, false, false},   {4 << 10, 500, false, false},
        {16 << 10, 500, false, false},  {64 << 10, 500, false, false},
        {256 << 10, 500, false, false}, {1 << 20, 500, false, false}};
    static const struct pressure_hooks hooks;
    static uint64_t ns[WRITES];
    static struct metrics m;
    static char text[METRICS_TEXT_MAX];
    const char *dir = argc > 1 ? argv[1] : "/dev/shm";
    int threads = argc > 2 ? atoi(argv[2]) : 0, neighbours = argc > 3 ? atoi(argv[3]) : 0;
    bool can_drain;

    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    if (pool_init(
            &(struct pool_options){.bucket = buckets, .bucket_count = 6, .max_bytes = 1 << 30},
            &can_drain))
        return 1;
    watchdog_thread_init(&pressure_defaults, &hooks);
    pressure_grow(64 << 20); // a first evaluation, so that all families are there
    metrics_init(&(struct metrics_options){.labels = "service=bench,shard=3"});
    textfile_init(&(struct textfile_options){.dir = dir, .interval_ms = 60000, .log = complain}, 0);
    textfile_worthwhile();
    add_neighbours(dir, neighbours);
    sem_init(&ready, 0, 0);
    sem_init(&end, 0, 0);
    for (int i = 0; i < threads; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, idle, NULL))
            return 1;
        sem_wait(&ready);
    }
    textfile_write(1);

    unsigned long before = heap_calls;
    for (int i = 0; i < WRITES; i++) {
        uint64_t start = now_ns();
        metrics_read(&m, true);
        metrics_render(&m, text, sizeof text);
        ns[i] = now_ns() - start;
    }
    unsigned long rendering = heap_calls - before;
    printf("%d idle threads, %d other files, %zu bytes\n", threads, neighbours,
           metrics_render(&m, text, sizeof text));
    print("read and render", ns, WRITES);

    before = heap_calls;
    for (int i = 0; i < WRITES; i++) {
        uint64_t start = now_ns();
        textfile_write(1);
        ns[i] = now_ns() - start;
    }
    unsigned long writing = heap_calls - before;
    print("write, altogether", ns, WRITES);

    int fd = folder_open(dir), sweeps = WRITES / 20;
    char mark[64];
    snprintf(mark, sizeof mark, ".tidepool-%u.reaped", geteuid());
    before = heap_calls;
    for (int i = 0; i < sweeps; i++) {
        folder_remove(fd, mark);
        uint64_t start = now_ns();
        reap(fd, &m.who, 60000);
        ns[i] = now_ns() - start;
    }
    unsigned long sweeping = heap_calls - before;
    print("listing, twice an interval", ns, (size_t)sweeps);
    printf("calls of the heap            reading %lu, writing %lu, listing %lu\n", rendering,
           writing, sweeping);
    textfile_exit();
    return rendering + writing + sweeping > 0;
}
