// A program of one thread that has grown does what only such a program may do, or gives up what it
// may do, and the library's threads are neither in its way nor left with more than it has.
//
//   one_thread MODE      see `modes` below; root, but for those that say otherwise

#include "tests/preload/victim.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

// In libc, and in no header of its own.
int capset(cap_user_header_t header, const cap_user_data_t data);

enum { UNPRIVILEGED = 1234, PATIENCE_MS = 10000 };

// What follows `key` in the status of a task, into `out`.
static bool status(const char *tid, const char *key, char out[256])
{
    char path[300], line[256];
    bool found = false;

    snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) {
            snprintf(out, 256, "%s", line + strlen(key));
            out[strcspn(out, "\n")] = '\0';
            found = true;
        }
    if (f)
        fclose(f);
    return found;
}

// How many of the library's threads there are; `tid`, if any: of the last.
static int library_threads(char tid[256])
{
    char name[256];
    int n = 0;
    DIR *d = opendir("/proc/self/task");

    CHECK(d, "/proc/self/task: %s", strerror(errno));
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && status(e->d_name, "Name:\t", name) &&
            strncmp(name, "tidepool", 8) == 0) {
            n++;
            if (tid)
                snprintf(tid, 256, "%s", e->d_name);
        }
    closedir(d);
    return n;
}

static void grow(void)
{
    for (int i = 0; i < 640; i++)
        memset(malloc(100000), 1, 100000);
}

static void grow_until_watched(char tid[256])
{
    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        if (ms % 1000 == 0)
            grow();
        if (library_threads(tid))
            return;
        usleep(1000);
    }
    CHECK(false, "no thread of the library");
}

// And has done what it does at its start.
static void grow_until_confined(char tid[256])
{
    char seccomp[256] = "";

    grow_until_watched(tid);
    for (int ms = 0; ms < PATIENCE_MS && seccomp[0] != '2'; ms++) {
        usleep(1000);
        status(tid, "Seccomp:\t", seccomp);
    }
    CHECK(seccomp[0] == '2', "no filter: Seccomp %s", seccomp);
}

static void expect_alone(const char *what)
{
    CHECK(library_threads(NULL) == 0, "after %s the thread is still there", what);
}

static void is_confined(void)
{
    char tid[256], text[256];

    grow_until_confined(tid);
    CHECK(status(tid, "NoNewPrivs:\t", text) && strcmp(text, "1") == 0, "%s", text);
    CHECK(status(tid, "CapPrm:\t", text) && strtoull(text, NULL, 16) == 0, "%s", text);
    CHECK(status(tid, "CapInh:\t", text) && strtoull(text, NULL, 16) == 0, "%s", text);
    CHECK(status(tid, "CapAmb:\t", text) && strtoull(text, NULL, 16) == 0, "%s", text);
    CHECK(prctl(PR_GET_SECCOMP) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0, "ours, too");
}

static void is_not_urgent(void)
{
    struct sched_param urgent = {.sched_priority = 50};
    cpu_set_t all, one;
    char tid[256];

    CHECK(sched_getaffinity(0, sizeof all, &all) == 0, "affinity");
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0, "pin");
    CHECK(sched_setscheduler(0, SCHED_FIFO, &urgent) == 0, "FIFO: %s", strerror(errno));
    grow_until_confined(tid);
    CHECK(sched_getscheduler(atoi(tid)) == SCHED_OTHER, "policy %d", sched_getscheduler(atoi(tid)));
    CHECK(sched_getaffinity(atoi(tid), sizeof one, &one) == 0, "affinity of the thread");
    CHECK(CPU_EQUAL(&one, &all), "%d of %d processors", CPU_COUNT(&one), CPU_COUNT(&all));
    CHECK(sched_getscheduler(0) == SCHED_FIFO, "our own policy has changed");
}

// As a daemon does that keeps one capability and changes groups last.
static void keeps_capabilities(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    char tid[256];

    grow_until_watched(tid);
    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0, "keep");
    CHECK(setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED) == 0, "%s", strerror(errno));
    grow();
    CHECK(syscall(SYS_capget, &h, d) == 0, "capget");
    d[0].effective = d[0].permitted;
    CHECK(syscall(SYS_capset, &h, d) == 0, "capset");
    grow();
    CHECK(setgroups(0, NULL) == 0, "%s", strerror(errno));
    CHECK(setresgid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED) == 0, "%s", strerror(errno));
}

static void changes_ids(void)
{
    char tid[256];

#define TRY(call)                                                                                  \
    grow_until_watched(tid);                                                                       \
    CHECK((call) == 0, "%s", strerror(errno));                                                     \
    expect_alone(#call)
    TRY(setgroups(0, NULL));
    TRY(initgroups("root", 0));
    TRY(setegid(UNPRIVILEGED));
    TRY(setegid(0));
    TRY(seteuid(UNPRIVILEGED));
    TRY(seteuid(0));
    TRY(setregid(0, 0));
    TRY(setreuid(0, 0));
    TRY(syscall(SYS_setgroups, 0, NULL));
    TRY(setresgid(0, 0, 0));
    TRY(setgid(UNPRIVILEGED));
    TRY(setresuid(0, UNPRIVILEGED, 0));
    // It started as this user, and the kernel refuses; errno is the kernel's.
    grow_until_watched(tid);
    CHECK(setgid(0) == -1 && errno == EPERM, "%s", strerror(errno));
    TRY(seteuid(0));
    TRY(setuid(UNPRIVILEGED));
    grow_until_watched(tid);
#undef TRY
}

static void enters_namespaces(void)
{
    char tid[256];
    int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

    grow_until_watched(tid);
    CHECK(setns(ns, CLONE_NEWNS) == 0, "setns: %s", strerror(errno));
    grow_until_watched(tid);
    CHECK(unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0, "unshare: %s", strerror(errno));
    grow_until_watched(tid);
    CHECK(unshare(CLONE_VM) == 0, "one thread: %s", strerror(errno));
    grow_until_watched(tid);
    CHECK(syscall(SYS_unshare, CLONE_SIGHAND) == 0, "by number: %s", strerror(errno));
    grow_until_watched(tid);
    CHECK(unshare(CLONE_NEWUSER) == 0 || errno != EINVAL, "user: %s", strerror(errno));
}

// No task of this process may do more than the first.
static void expect_no_more(const char *what)
{
    static const char *const keys[] = {"CapPrm:\t", "CapEff:\t", "CapInh:\t", "CapBnd:\t"};
    char self[32], tid[256], mine[256], its[256];

    snprintf(self, sizeof self, "%d", getpid());
    if (!library_threads(tid))
        return;
    for (size_t i = 0; i < COUNT(keys); i++) {
        CHECK(status(self, keys[i], mine) && status(tid, keys[i], its), "status");
        CHECK((strtoull(its, NULL, 16) & ~strtoull(mine, NULL, 16)) == 0, "%s %s%s", what, keys[i],
              its);
    }
    CHECK(status(self, "NoNewPrivs:\t", mine) && status(tid, "NoNewPrivs:\t", its), "status");
    CHECK(atoi(its) >= atoi(mine), "%s", what);
    CHECK(status(self, "Seccomp_filters:\t", mine) && status(tid, "Seccomp_filters:\t", its), "-");
    CHECK(atoi(its) >= atoi(mine), "%s", what);
}

static void gives_up(const char *what, long result)
{
    char tid[256];

    CHECK(result == 0 || errno == ENOSYS || errno == EOPNOTSUPP, "%s: %s", what, strerror(errno));
    expect_alone(what);
    grow_until_confined(tid);
    expect_no_more(what);
}

static void locks_itself_up(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE};
    char tid[256];

    grow_until_watched(tid);
    gives_up("bounding set", prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0));
    gives_up("no_new_privs", syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (fd >= 0)
        gives_up("landlock", syscall(SYS_landlock_restrict_self, fd, 0));
    gives_up("capset", capset(&h, none));
}

static void install(struct sock_filter *code, unsigned short length, bool by_number)
{
    struct sock_fprog program = {.len = length, .filter = code};

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    if (by_number)
        CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0, "seccomp");
    else
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0, "prctl");
}

#define ALLOW(nr)                                                                                  \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

// Nothing but what a heap needs, and fstat(); anything else kills.
static void allow_a_heap_only(bool by_number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_brk),
        ALLOW(SYS_mmap),
        ALLOW(SYS_munmap),
        ALLOW(SYS_mremap),
        ALLOW(SYS_madvise),
        ALLOW(SYS_mprotect),
        ALLOW(SYS_futex),
        ALLOW(SYS_write),
        ALLOW(SYS_exit_group),
        ALLOW(SYS_fstat),
        ALLOW(SYS_newfstatat),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    install(code, COUNT(code), by_number);
}

// The filter kills for what starts a thread, so none starts any more. The folder of tasks has a
// link for each, and two.
static void filters(bool by_number)
{
    struct stat tasks;
    char tid[256];
    int fd = open("/proc/self/task", O_RDONLY | O_CLOEXEC | O_DIRECTORY);

    grow_until_watched(tid);
    allow_a_heap_only(by_number);
    for (int i = 0; i < 8; i++) {
        CHECK(fstat(fd, &tasks) == 0, "fstat");
        CHECK(tasks.st_nlink == 3, "%d tasks", (int)tasks.st_nlink - 2);
        grow();
    }
}

static void filters_by_number(void)
{
    filters(true);
}

static void filters_by_prctl(void)
{
    filters(false);
}

// A worker that has all it needs: it computes, and ends.
static void filters_all_but_the_end(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_write),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    char tid[256];

    grow_until_watched(tid);
    install(code, COUNT(code), false);
}

// What the pools ask the kernel for at their start they ask before the filter is there.
static void filters_while_small(void)
{
    allow_a_heap_only(false);
    grow();
}

// A child that borrows the memory filters its own calls; those of the parent stay what they are.
static void child_filters_itself(void)
{
    char tid[256];
    int result;

    grow_until_watched(tid);
    pid_t pid = vfork();
    if (pid == 0) {
        allow_a_heap_only(false);
        _exit(0);
    }
    CHECK(waitpid(pid, &result, 0) == pid && result == 0, "child: %x", result);
    CHECK(seteuid(geteuid()) == 0, "%s", strerror(errno));
    CHECK(library_threads(NULL) == 0, "ended around seteuid()");
    grow_until_watched(tid);
}

static _Atomic bool enough;

static void *change_and_grow(void *unused)
{
    (void)unused;
    while (!enough) {
        CHECK(seteuid(geteuid()) == 0, "%s", strerror(errno));
        CHECK(setegid(getegid()) == 0, "%s", strerror(errno));
        for (int i = 0; i < 20; i++) {
            char *p = malloc(2 * MIB);
            p[0] = 1;
            free(p);
        }
    }
    return NULL;
}

// Many threads at once, beside children of both kinds.
static void many_at_once(void)
{
    pthread_t t[4];
    char tid[256];
    int result;

    for (size_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, change_and_grow, NULL) == 0, "thread");
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            CHECK(setuid(UNPRIVILEGED) == 0, "child: %s", strerror(errno));
            _exit(0);
        }
        CHECK(waitpid(pid, &result, 0) == pid && result == 0, "child: %x", result);
    }
    enough = true;
    for (size_t i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
    grow_until_watched(tid);
}

// A child that borrows the memory changes its own ids; the thread is the parent's, and stays.
static void child_borrows_memory(void)
{
    char tid[256];
    int result;

    grow_until_watched(tid);
    int before = library_threads(NULL);
    pid_t pid = vfork();
    if (pid == 0)
        _exit(syscall(SYS_setuid, UNPRIVILEGED) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                  ? 0
                  : 9);
    CHECK(waitpid(pid, &result, 0) == pid && result == 0, "child: %x", result);
    CHECK(library_threads(NULL) >= before, "the child has ended its parent's thread");
    CHECK(geteuid() == 0, "the parent is %d now", geteuid());
}

static void on_signal(int signal)
{
    (void)signal;
    if (seteuid(geteuid()) != 0)
        _exit(8);
}

// POSIX: a handler may call it, whatever has been interrupted.
static void in_a_handler(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    const struct itimerspec often = {{0, 300000}, {0, 300000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;

    CHECK(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer");
    CHECK(timer_settime(timer, 0, &often, NULL) == 0, "timer");
    for (int i = 0; i < 30000; i++) {
        char *p = malloc(2 * MIB);
        p[0] = 1;
        free(p);
    }
    timer_delete(timer);
}

static const struct {
    const char *name;
    void (*run)(void);
} modes[] = {
    {"is_confined", is_confined},
    {"is_not_urgent", is_not_urgent},
    {"keeps_capabilities", keeps_capabilities},
    {"changes_ids", changes_ids},
    {"enters_namespaces", enters_namespaces},
    {"locks_itself_up", locks_itself_up},
    {"filters_by_number", filters_by_number},
    {"filters_by_prctl", filters_by_prctl},
    {"filters_all_but_the_end", filters_all_but_the_end},
    {"filters_while_small", filters_while_small},
    {"child_filters_itself", child_filters_itself},
    {"many_at_once", many_at_once},
    {"child_borrows_memory", child_borrows_memory},
    {"in_a_handler", in_a_handler},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT(modes); i++)
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    return 2;
}
