// Forks while another thread makes the process's first requests, and with them sets up what serves
// them: the child can have it too, and waits for no thread that it lacks. Runs itself many times.
//
//   fork_at_start        with the fork at all moments of the start, one after the other
//   fork_at_start slow   in the middle of a start that takes long, for a system call of it does

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shim/api/tidepool.h"
#include "victim.h"

// A child that waits sleeps, and there is little else that it would sleep for.
enum { RUNS = 100, SLEEPS_MOST = 20, START_MS = 400 };

static _Atomic int begun, starting, listener = -1;

// From now on this thread's membarrier(2), which sets up what drains threads' lists, waits for an
// answer on the descriptor.
static void slow_down(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(code), code};

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                            &program);
    CHECK(listener >= 0, "seccomp: %s", strerror(errno));
}

static void *answer_late(void *arg)
{
    struct seccomp_notif asked;
    struct seccomp_notif_resp answer;

    (void)arg;
    while (listener < 0)
        usleep(1000);
    for (;;) {
        memset(&asked, 0, sizeof asked);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0)
            continue;
        starting = 1;
        usleep(START_MS * 1000);
        answer =
            (struct seccomp_notif_resp){.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return NULL;
}

static void *first_requests(void *slow)
{
    if (slow)
        slow_down();
    atomic_store(&begun, 1);
    for (int i = 0; i < 20; i++) {
        free(malloc(64 * KIB));
        malloc_trim(0);
    }
    return NULL;
}

static long sleeps(void)
{
    struct rusage u;

    getrusage(RUSAGE_THREAD, &u);
    return u.ru_nvcsw;
}

// Each stop for strace would count as a sleep. Allocates nothing.
static bool is_traced(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    CHECK(read(fd, text, sizeof text - 1) > 0, "/proc/self/status");
    close(fd);
    return !strstr(text, "TracerPid:\t0\n");
}

static int child(void)
{
    bool traced = is_traced();
    struct tidepool_bucket b[16];
    long before = sleeps();
    uint64_t served = 0;

    for (int i = 0; i < 10; i++)
        free(malloc(64 * KIB));
    malloc_trim(0);
    CHECK(traced || sleeps() - before <= SLEEPS_MOST, "the child slept %ld times",
          sleeps() - before);
    unsigned n = tidepool_stats(b, COUNT(b));
    for (unsigned i = 0; i < n && i < COUNT(b); i++)
        served += b[i].created + b[i].reused;
    CHECK(served >= 10, "%u buckets served %d requests", n, (int)served);
    return 0;
}

static int once(int spins, bool slow)
{
    pthread_t t;
    int status;

    if (slow)
        CHECK(pthread_create(&t, NULL, answer_late, NULL) == 0, "thread");
    CHECK(pthread_create(&t, NULL, first_requests, slow ? &begun : NULL) == 0, "thread");
    while (!atomic_load(slow ? &starting : &begun))
        ;
    for (volatile int i = 0; i < spins; i++)
        ;
    pid_t pid = fork();
    if (pid == 0)
        _exit(child());
    CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
    pthread_join(t, NULL);
    return status != 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return once(atoi(argv[1]), !strcmp(argv[1], "slow"));
    for (int i = 0; i < RUNS; i++) {
        char spins[16];
        char *words[] = {argv[0], spins, NULL};
        int status;
        pid_t pid;

        snprintf(spins, sizeof spins, "%d", i * 500);
        CHECK(posix_spawn(&pid, argv[0], NULL, NULL, words, environ) == 0, "spawn");
        CHECK(waitpid(pid, &status, 0) == pid && status == 0, "run %d ended with %d", i, status);
    }
    return 0;
}
