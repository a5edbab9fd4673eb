// Run where address space is short: asks for all there is, in pooled and in larger blocks, is told
// NULL and ENOMEM at the end, and goes on with what it frees.

#include "tests/preload/victim.h"

#include <pthread.h>
#include <sys/resource.h>

// The list lives in the blocks themselves, so that it needs no memory of its own.
static size_t take_all(size_t size)
{
    void **head = NULL;
    size_t count = 0;
    for (;;) {
        errno = 0;
        void **p = malloc(size);
        if (!p)
            break;
        *p = head;
        head = p;
        count++;
    }
    CHECK(errno == ENOMEM, "out of memory says errno %d", errno);
    while (head) {
        void **next = *head;
        free(head);
        head = next;
    }
    return count;
}

static pthread_barrier_t begin, end;

// A neighbour that allocates meanwhile gets blocks or NULL, and nothing else. Its first request
// comes while there is room: jemalloc 5.3 crashes where it cannot set a thread up (README, known
// gaps).
static void *neighbour(void *arg)
{
    uint64_t state = 1;
    free(malloc(100));
    free(malloc(5000));
    free(malloc(2 * MIB));
    pthread_barrier_wait(&end);
    pthread_barrier_wait(&begin);
    for (int i = 0; i < 5000; i++) {
        size_t size = victim_random(&state) % 4 ? victim_pooled_size(&state) : (size_t)i;
        char *p = malloc(size);
        if (p)
            memset(p, 1, size);
        free(p);
    }
    pthread_barrier_wait(&end);
    return arg;
}

int main(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY,
          "this wants a limit: ulimit -v");
    static const size_t sizes[] = {100, 5000, 64 * KIB, MIB, 3 * MIB, 2000};
    pthread_t t;
    // The pools take their share while there is some.
    free(malloc(5000));
    pthread_barrier_init(&begin, NULL, 2);
    pthread_barrier_init(&end, NULL, 2);
    CHECK(pthread_create(&t, NULL, neighbour, NULL) == 0, "thread");
    pthread_barrier_wait(&end);
    for (size_t i = 0; i < 2 * COUNT(sizes); i++) {
        size_t size = sizes[i % COUNT(sizes)];
        if (i == COUNT(sizes))
            pthread_barrier_wait(&begin);
        size_t bytes = take_all(size) * size;
        // Enough for a program that asked for so little; the rest of the limit is libc, the
        // program, and what a heap loses at its edges.
        CHECK(bytes > 8 * MIB, "only %zu K in blocks of %zu, round %zu", bytes / KIB, size, i);
    }
    pthread_barrier_wait(&end);
    pthread_join(t, NULL);
    return 0;
}
