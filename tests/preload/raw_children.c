// A program of one thread makes children without fork(), as sandboxes and containers do, while its
// memory is so short that the library's own thread is at work all the time. Each child allocates,
// frees and gives memory back, and none hangs or finds a block of its parent's changed. A child
// that grows has a watchdog of its own.
//
//   raw_children HOW [CHILDREN]   syscall, clone3, fork, clone, _Fork, or asm: the bare instruction

#include "victim.h"

#include <dirent.h>
#include <linux/sched.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { HELD = 384, BLOCKS = 512, STACK = 1 << 16, HANG_S = 10 };

pid_t _Fork(void);

static char *held[HELD], *block[BLOCKS];
static uint64_t state = 1;

static void churn(int steps)
{
    for (int i = 0; i < steps; i++) {
        size_t at = victim_random(&state) % BLOCKS, size = 64 + victim_random(&state) % 150000;
        free(block[at]);
        block[at] = malloc(size);
        CHECK(block[at], "block of %zu", size);
        memset(block[at], (int)at, size);
    }
}

static int threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int n = 0;

    while (tasks && readdir(tasks))
        n++;
    closedir(tasks);
    return n - 2;
}

static int child(void *arg)
{
    (void)arg;
    alarm(HANG_S);
    churn(400);
    for (int i = 0; i < HELD; i++) {
        CHECK(held[i][0] == 1 && held[i][65535] == 1, "block %d of the parent's", i);
        free(held[i]);
    }
    for (int i = 0; i < 20; i++)
        free(malloc(3000000));
    malloc_trim(0);
    for (int i = 0; i < HELD; i++)
        memset(held[i] = malloc(65536), 2, 65536);
    CHECK(threads() == 2, "%d threads, one of them to watch", threads());
    pid_t grandchild = fork();
    if (grandchild == 0) {
        churn(50);
        _exit(0);
    }
    int status;
    CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0, "grandchild: %x", status);
    _exit(0);
}

static pid_t by_instruction(void)
{
    long result = SYS_clone;

#if defined(__x86_64__)
    register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"((long)SIGCHLD), "S"(0L), "d"(0L), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
#else
    result = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif
    return (pid_t)result;
}

static pid_t make(const char *how)
{
    static char stack[STACK] __attribute__((aligned(16)));
    struct clone_args args = {.exit_signal = SIGCHLD};

    if (!strcmp(how, "syscall"))
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!strcmp(how, "clone3"))
        return (pid_t)syscall(SYS_clone3, &args, sizeof args);
#ifdef SYS_fork
    if (!strcmp(how, "fork"))
        return (pid_t)syscall(SYS_fork);
#endif
    if (!strcmp(how, "clone"))
        return clone(child, stack + STACK, SIGCHLD, NULL);
    if (!strcmp(how, "_Fork"))
        return _Fork();
    return by_instruction();
}

int main(int argc, char **argv)
{
    int children = argc > 2 ? atoi(argv[2]) : 10, status;

    for (int i = 0; i < HELD; i++)
        memset(held[i] = malloc(65536), 1, 65536);
    churn(2000);
    for (int n = 0; n < children; n++) {
        churn(300);
        pid_t pid = make(argv[1]);
        CHECK(pid >= 0, "child %d: %s", n, strerror(errno));
        if (pid == 0)
            child(NULL);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child %d: status %x", n, status);
    }
    return 0;
}
