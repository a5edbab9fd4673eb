// pair - what a pair of mmap and munmap costs through libc's names, beside the raw system calls.
//
//   pair LIVE     with LIVE other mappings of files. Both ways in turn, many times; prints the
//   medians
//                 in ns: of a file's pair raw and by name, then of an anonymous one
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 401, CALLS = 100, BYTES = 65536 };

static int fd;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double raw(int flags, int file)
{
    double start = now_ns();
    for (int i = 0; i < CALLS; i++) {
        long at = syscall(SYS_mmap, NULL, BYTES, PROT_READ, flags, file, 0L);
        syscall(SYS_munmap, at, BYTES);
    }
    return (now_ns() - start) / CALLS;
}

static double by_name(int flags, int file)
{
    double start = now_ns();
    for (int i = 0; i < CALLS; i++) {
        void *at = mmap(NULL, BYTES, PROT_READ, flags, file, 0);
        munmap(at, BYTES);
    }
    return (now_ns() - start) / CALLS;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The difference is taken of neighbours in time, so that what slows both cancels out.
static void measure(int flags, int file)
{
    static double base[ROUNDS], more[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        base[r] = raw(flags, file);
        more[r] = by_name(flags, file) - base[r];
    }
    qsort(base, ROUNDS, sizeof base[0], by_value);
    qsort(more, ROUNDS, sizeof more[0], by_value);
    printf("%.0f %.0f ", base[ROUNDS / 2], more[ROUNDS / 2]);
}

int main(int argc, char **argv)
{
    int live = argc > 1 ? atoi(argv[1]) : 0;
    fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < live; i++)
        if (mmap(NULL, 8192, PROT_READ, i & 1 ? MAP_SHARED : MAP_PRIVATE, fd, 0) == MAP_FAILED)
            return 2;
    measure(MAP_SHARED, fd);
    measure(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    putchar('\n');
    return 0;
}
