// Allocates before any library's constructor has run (.preinit_array) and after the destructors,
// with threads in between; the blocks of one age are freed in another.

#include "tests/preload/victim.h"

#include <pthread.h>

static void *blocks[COUNT(victim_sizes)];

static void early(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    for (size_t i = 0; i < COUNT(blocks); i++) {
        free(calloc(1, victim_sizes[i]));
        blocks[i] = malloc(victim_sizes[i]);
        CHECK(blocks[i], "%zu bytes before all constructors", victim_sizes[i]);
        victim_fill(blocks[i], victim_sizes[i], i);
    }
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(int, char **,
                                                                              char **) = early;

static void *middle(void *arg)
{
    for (size_t i = 0; i < COUNT(blocks); i++) {
        CHECK(victim_intact(blocks[i], victim_sizes[i], victim_sizes[i], i), "block %zu", i);
        free(blocks[i]);
        blocks[i] = malloc(victim_sizes[i]);
        victim_fill(blocks[i], victim_sizes[i], i);
    }
    return arg;
}

static void at_exit(void)
{
    middle(NULL);
}

__attribute__((destructor)) static void late(void)
{
    middle(NULL);
}

int main(void)
{
    pthread_t t;
    middle(NULL);
    CHECK(pthread_create(&t, NULL, middle, NULL) == 0, "thread");
    pthread_join(t, NULL);
    CHECK(atexit(at_exit) == 0, "atexit");
    return 0;
}
