// A program that uses little memory stays alone in its process: a second thread would make
// unshare(CLONE_NEWUSER) fail, and newer Pythons warn on fork. So does its child.

#include "tests/preload/victim.h"

#include <dirent.h>
#include <sched.h>
#include <sys/wait.h>

static int threads(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    CHECK(d, "/proc/self/task: %s", strerror(errno));
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void use_little_memory(void)
{
    for (size_t i = 0; i < COUNT(victim_sizes); i++) {
        void *p = malloc(victim_sizes[i]);
        memset(p, 1, victim_sizes[i]);
        free(p);
    }
}

int main(void)
{
    CHECK(threads() == 1, "%d threads at the start", threads());
    use_little_memory();
    usleep(200000);
    CHECK(threads() == 1, "%d threads", threads());
    pid_t pid = fork();
    CHECK(pid >= 0, "fork");
    if (pid == 0) {
        use_little_memory();
        CHECK(threads() == 1, "%d threads in a child", threads());
        // EPERM is the machine's decision; EINVAL says that there is another thread.
        CHECK(unshare(CLONE_NEWUSER) == 0 || errno != EINVAL, "unshare: %s", strerror(errno));
        exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child: status %x", status);
    return 0;
}
