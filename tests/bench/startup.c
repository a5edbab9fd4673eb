// startup - what a preloaded library costs a program that does nothing.
//
//   startup LIBRARY|- [N]    starts /bin/true N times; median wall and user+sys time, in ns
//
// This program itself is not run under the library; only its children are.
#include "harness.h"

#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

enum { MAX_RUNS = 1000 };

static uint64_t wall[MAX_RUNS], cpu[MAX_RUNS];

static uint64_t cpu_ns(const struct rusage *use)
{
    const struct timeval u = use->ru_utime, s = use->ru_stime;
    return (uint64_t)(u.tv_sec + s.tv_sec) * 1000000000u +
           (uint64_t)(u.tv_usec + s.tv_usec) * 1000u;
}

static void start_one(size_t i)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    struct rusage use;
    pid_t pid;
    int status;
    uint64_t before = wall_ns();
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) ||
        wait4(pid, &status, 0, &use) != pid || status)
        die("/bin/true did not run");
    wall[i] = wall_ns() - before;
    cpu[i] = cpu_ns(&use);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t median(uint64_t *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

int main(int argc, char **argv)
{
    size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 40;
    alarm(PATIENCE_S);
    if (argc < 2 || n < 1 || n > MAX_RUNS)
        die("usage: startup LIBRARY|- [N]");
    if (strcmp(argv[1], "-") ? setenv("LD_PRELOAD", argv[1], 1) : unsetenv("LD_PRELOAD"))
        die("cannot set LD_PRELOAD");
    for (size_t i = 0; i < 3; i++)
        start_one(0); // page cache, and the dentries on the way
    for (size_t i = 0; i < n; i++)
        start_one(i);
    printf("%llu %llu\n", (unsigned long long)median(wall, n), (unsigned long long)median(cpu, n));
    return 0;
}
