// A child that shares its parent's memory (CLONE_VM, as vfork) grows it: whatever watches is no
// thread of the child, which would outlive it unseen, with no parent to wait for it.

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "victim.h"

static char *kept[64];

static int grow(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < COUNT(kept); i++) {
        kept[i] = malloc(MIB);
        memset(kept[i], 1, MIB);
    }
    return 0;
}

int main(void)
{
    static char stack[256 * 1024] __attribute__((aligned(16)));
    int status;

    alarm(20);
    for (int round = 0; round < 3; round++) {
        pid_t child = clone(grow, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
        CHECK(child > 0, "%s", strerror(errno));
        CHECK(waitpid(child, &status, 0) == child && status == 0, "it ended with %d", status);
        for (size_t i = 0; i < COUNT(kept); i++)
            free(kept[i]);
    }
    return 0;
}
