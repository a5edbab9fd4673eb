// Real OOM kills in a real v1 cgroup. The victim holds freed memory (touched pages on a list of its
// own) and grows; the watchdog may empty the list. Each case has a control without the watchdog,
// which the kernel has to kill, or the case proves nothing.
//
// Needs a writable v1 memory hierarchy; without one every case says SKIPPED.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pressure/direct_reclaim.h"
#include "pressure/watchdog_thread.h"
#include "tests/unit/pressure_grow.h"

#define M ((size_t)1 << 20)
#define LIMIT (512 * M)
#define SHELF (300 * M)
#define LIVE (440 * M)
#define BLOCK ((size_t)64 << 10)

static char group[512];

static bool write_file(const char *dir, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

static void make_group(void)
{
    char line[256], own[256] = "", limit[32];
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *p = strstr(line, ":memory:");
        if (p)
            snprintf(own, sizeof own, "%s", p + strlen(":memory:"));
    }
    if (f)
        fclose(f);
    own[strcspn(own, "\n")] = '\0';
    snprintf(group, sizeof group, "/sys/fs/cgroup/memory%s/tidepool-test-%d", own, (int)getpid());
    snprintf(limit, sizeof limit, "%zu", LIMIT);
    if (!*own || mkdir(group, 0755) != 0 || !write_file(group, "memory.limit_in_bytes", limit)) {
        fprintf(stderr, "SKIPPED: no writable cgroup v1 memory hierarchy\n");
        cr_skip_test("no writable cgroup v1 memory hierarchy");
    }
    // Where there is swap a limit is no end.
    write_file(group, "memory.memsw.limit_in_bytes", limit);
}

static void remove_group(void)
{
    for (int i = 0; i < 100 && rmdir(group) != 0; i++)
        usleep(10000);
}

TestSuite(pressure_oom, .init = make_group, .fini = remove_group, .timeout = 60);

// A heap of one list: pages that are freed, and still ours.
static struct {
    char *base;
    _Atomic size_t held;
} shelf;

static size_t empty_shelf(uint64_t keep, enum pressure_cause cause)
{
    (void)cause;
    size_t held = atomic_load(&shelf.held);
    keep &= ~(uint64_t)4095;
    if (held <= keep)
        return 0;
    if (madvise(shelf.base + keep, held - keep, MADV_DONTNEED) != 0)
        return 0;
    atomic_store(&shelf.held, keep);
    return held - keep;
}

static uint64_t shelf_held(void)
{
    return atomic_load(&shelf.held);
}

static void *map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        _exit(3);
    return p;
}

static void touch(char *p, size_t size)
{
    for (size_t i = 0; i < size; i += 4096)
        p[i] = 1;
}

static void fill_shelf(void)
{
    shelf.base = map(SHELF);
    for (size_t i = 0; i < SHELF; i += BLOCK) {
        pressure_grow(BLOCK);
        watchdog_thread_poke();
        touch(shelf.base + i, BLOCK);
    }
    atomic_store(&shelf.held, SHELF);
    pressure_shrink(SHELF);
}

static void grow_and_touch(void)
{
    char *live = map(LIVE);
    for (size_t i = 0; i < LIVE; i += BLOCK) {
        pressure_grow(BLOCK);
        watchdog_thread_poke();
        touch(live + i, BLOCK);
    }
}

// All of it is handed out before any of it is touched: growth tells nothing, the thread has to see.
static void grow_then_touch(void)
{
    char *live = map(LIVE);
    for (size_t i = 0; i < LIVE; i += BLOCK) {
        pressure_grow(BLOCK);
        watchdog_thread_poke();
    }
    touch(live, LIVE);
}

static struct pressure_hooks hooks = {.reclaim = empty_shelf, .held = shelf_held};
static struct pressure_options options;
static bool accelerators = true;

static pid_t start(void (*body)(void), bool watched, bool thread)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    signal(SIGALRM, SIG_DFL);
    alarm(30);
    if (!write_file(group, "cgroup.procs", "0"))
        _exit(4);
    options = pressure_defaults;
    options.thread = thread;
    options.accelerators = accelerators;
    static const struct pressure_hooks none;
    watchdog_thread_init(&options, watched ? &hooks : &none);
    body();
    _exit(0);
}

static int finish(pid_t pid)
{
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void shelf_then_growth(void)
{
    fill_shelf();
    grow_and_touch();
}

static void shelf_then_late_touch(void)
{
    fill_shelf();
    grow_then_touch();
}

Test(pressure_oom, growth_empties_the_shelf_in_time)
{
    cr_expect(eq(int, finish(start(shelf_then_growth, false, false)), -SIGKILL), "the control");
    cr_expect(eq(int, finish(start(shelf_then_growth, true, false)), 0), "assist alone");
    cr_expect(eq(int, finish(start(shelf_then_growth, true, true)), 0), "with the thread");
}

Test(pressure_oom, pages_touched_late_are_seen_by_the_thread)
{
    cr_expect(eq(int, finish(start(shelf_then_late_touch, false, false)), -SIGKILL), "the control");
    cr_expect(eq(int, finish(start(shelf_then_late_touch, true, true)), 0));
}

static void *grower(void *arg)
{
    char *live = arg;
    for (size_t i = 0; i < LIVE / 4; i += BLOCK) {
        pressure_grow(BLOCK);
        touch(live + i, BLOCK);
    }
    return NULL;
}

static void shelf_then_four_threads(void)
{
    fill_shelf();
    pthread_t t[4];
    char *live = map(LIVE);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, grower, live + (size_t)i * (LIVE / 4));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

Test(pressure_oom, four_threads_grow_at_once)
{
    cr_expect(eq(int, finish(start(shelf_then_four_threads, false, false)), -SIGKILL), "control");
    cr_expect(eq(int, finish(start(shelf_then_four_threads, true, false)), 0));
}

static int ready[2];

static void idle_with_a_shelf(void)
{
    fill_shelf();
    if (write(ready[1], "x", 1) != 1)
        _exit(5);
    for (;;)
        pause();
}

static int neighbour_grows(bool watched)
{
    char c;
    cr_assert(eq(int, pipe(ready), 0));
    pid_t idle = start(idle_with_a_shelf, watched, true);
    cr_assert(eq(int, (int)read(ready[0], &c, 1), 1));
    // The kernel picks the larger of the two, so either may be the one that dies.
    int r = finish(start(grow_and_touch, watched, true));
    bool alive = waitpid(idle, NULL, WNOHANG) == 0;
    kill(idle, SIGKILL);
    if (alive)
        waitpid(idle, NULL, 0);
    return alive ? r : -SIGKILL;
}

Test(pressure_oom, an_idle_process_gives_back_for_its_neighbour)
{
    cr_expect(eq(int, neighbour_grows(false), -SIGKILL), "the control");
    cr_expect(eq(int, neighbour_grows(true), 0));
}

// As in a container, where PSI takes no trigger: the thread has to look often enough.
Test(pressure_oom, looks_alone_are_enough)
{
    accelerators = false;
    cr_expect(eq(int, neighbour_grows(true), 0));
    cr_expect(eq(int, finish(start(shelf_then_late_touch, true, true)), 0));
}
