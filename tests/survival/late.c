// late HELD_MIB GROWN_MIB FROM_MIB DELAY_MS - a neighbour is late in giving back.
//
// A child holds HELD_MIB, mapped and touched. The parent grows to GROWN_MIB by malloc. When it has
// FROM_MIB, the child waits for DELAY_MS, gives all back and rests until the parent has ended. It
// is the larger one, so that it is the one to be killed at the limit.

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

enum { BLOCK = 64 * 1024, DOWN = 1, GROWN = 2 };

static void *map_and_touch(size_t bytes, int flags)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
    if (p == MAP_FAILED)
        load_die("no mapping");
    for (size_t i = 0; i < bytes; i += 4096)
        p[i] = 1;
    return p;
}

static void hold_and_give_back(_Atomic int *step, size_t bytes, unsigned delay_ms)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    void *held = map_and_touch(bytes, MAP_PRIVATE);
    atomic_store(step, DOWN);
    while (atomic_load(step) != GROWN)
        usleep(100);
    usleep(delay_ms * 1000);
    munmap(held, bytes);
    pause();
}

int main(int argc, char **argv)
{
    load_start(argc, argv);
    if (argc != 5)
        load_die("late HELD_MIB GROWN_MIB FROM_MIB DELAY_MS");
    size_t held = strtoull(argv[1], NULL, 10) * MIB, grown = strtoull(argv[2], NULL, 10) * MIB;
    size_t from = strtoull(argv[3], NULL, 10) * MIB;
    unsigned delay_ms = (unsigned)strtoul(argv[4], NULL, 10);
    _Atomic int *step = map_and_touch(4096, MAP_SHARED);
    atomic_store(step, 0);
    pid_t child = fork();
    if (child < 0)
        load_die("no child");
    if (child == 0)
        hold_and_give_back(step, held, delay_ms);
    while (atomic_load(step) != DOWN)
        usleep(100);
    struct block_list blocks = {0};
    for (size_t taken = 0; taken < grown; taken += BLOCK) {
        load_push(&blocks, load_take(BLOCK));
        if (taken == from)
            atomic_store(step, GROWN);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    load_give_all(&blocks);
    return 0;
}
