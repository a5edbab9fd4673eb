// no_membarrier ERRNO: starts itself again with membarrier refused, as container sandboxes do
// (EPERM) and old kernels (ENOSYS). No other thread can drain an idle thread's cache then;
// everything else holds.

#include "tests/preload/victim.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { THREADS = 8 };
static pthread_barrier_t freed, trimmed;

static void refuse_membarrier(unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(filter), filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs: %s", strerror(errno));
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp: %s",
          strerror(errno));
}

static void churn(uint64_t state)
{
    struct {
        void *p;
        size_t size;
    } b[32] = {{0}};
    for (int i = 0; i < 3000; i++) {
        size_t at = victim_random(&state) % COUNT(b);
        CHECK(victim_intact(b[at].p, b[at].size, b[at].size, at), "%zu bytes", b[at].size);
        free(b[at].p);
        b[at].size = victim_pooled_size(&state) / 8;
        b[at].p = malloc(b[at].size);
        victim_fill(b[at].p, b[at].size, at);
    }
    for (size_t i = 0; i < COUNT(b); i++)
        free(b[i].p);
}

static void *work(void *arg)
{
    churn((uintptr_t)arg + 1);
    pthread_barrier_wait(&freed);
    pthread_barrier_wait(&trimmed);
    churn((uintptr_t)arg + 2);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        refuse_membarrier((unsigned)atoi(argv[1]));
        execl(argv[0], argv[0], argv[1], "again", (char *)NULL);
        CHECK(false, "exec: %s", strerror(errno));
    }
    CHECK(argc == 3, "usage: no_membarrier ERRNO");
    errno = 0;
    CHECK(syscall(SYS_membarrier, 0, 0, 0) < 0 && errno == atoi(argv[1]), "errno %d", errno);
    pthread_t t[THREADS];
    pthread_barrier_init(&freed, NULL, THREADS + 1);
    pthread_barrier_init(&trimmed, NULL, THREADS + 1);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)i) == 0, "thread");
    pthread_barrier_wait(&freed);
    malloc_trim(0);
    pthread_barrier_wait(&trimmed);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    malloc_trim(0);
    return 0;
}
