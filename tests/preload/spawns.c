// vfork and exec, posix_spawn, popen and system, from a program whose threads allocate.

#include "tests/preload/victim.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

extern char **environ;
static atomic_bool enough;
static char program[] = "/bin/echo", word[] = "said";
static char *const say[] = {program, word, NULL};

static void *work(void *arg)
{
    uint64_t state = (uintptr_t)arg + 1;
    while (!atomic_load(&enough)) {
        size_t size = victim_pooled_size(&state);
        char *p = malloc(size);
        p[0] = p[size - 1] = 1;
        free(p);
    }
    return NULL;
}

static void reap(pid_t pid, const char *how)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "%s: status %x", how, status);
}

static void by_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    CHECK(pid > 0, "vfork");
    reap(pid, "vfork");
}

static void by_posix_spawn(void)
{
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1, 0);
    int rc = posix_spawn(&pid, say[0], &actions, NULL, say, environ);
    CHECK(rc == 0, "posix_spawn: %s", strerror(rc));
    posix_spawn_file_actions_destroy(&actions);
    reap(pid, "posix_spawn");
}

static void by_popen(void)
{
    char line[16] = "";
    FILE *f = popen("/bin/echo said", "r");
    CHECK(f && fgets(line, sizeof line, f), "popen");
    CHECK(strcmp(line, "said\n") == 0 && pclose(f) == 0, "popen read %s", line);
}

int main(void)
{
    pthread_t t[2];
    for (uintptr_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)i) == 0, "thread");
    for (int i = 0; i < 30; i++) {
        by_vfork();
        by_posix_spawn();
        by_popen();
        CHECK(system("exit 3") == 3 << 8, "system");
    }
    atomic_store(&enough, true);
    for (size_t i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
    return 0;
}
