// Threads that come and go take blocks of all sizes, check what they wrote into them and pass them
// to each other and have blocks give way, while one trims, ages, drains, moves the ceiling and
// reads the numbers all the time. For ThreadSanitizer (make race SAN=thread) and, with more turns,
// without it. About 5 s.
//
// Three times, each in a process of its own: plain, with membarrier refused, and with forks in
// between. (ThreadSanitizer cannot fork while there are threads.) An argument runs one of them.

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool.h"
#include "pool/region/holes.h"

#ifdef __has_feature
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__
#endif
#endif

#define K ((size_t)1024)
#define THREADS 6
#ifdef __SANITIZE_THREAD__ // some ten times slower
#define LIVES 30           // threads, one after the other
#define TURNS 6000         // of each thread
#else
#define LIVES 36
#define TURNS 20000
#endif
#define FORKS_MAX 30 // of one run; each child takes some ms
#define FORK_WAIT_MS 10000
#define SLOTS 48     // blocks that a thread holds
#define POSTBOXES 64 // blocks on their way to any thread

// Limits low enough that all threads together meet them, both kinds; and one that follows demand,
// so that its blocks give way.
static const struct quota_bucket buckets[] = {
    {4 * K, 200, false, false},
    {64 * K, 4096 * K, true, false},
    {256 * K, 30, false, true},
    {1024 * K, 8192 * K, true, false},
};
#define CEILING (16384 * K)

struct block {
    size_t size;
    uint64_t seed;
    unsigned char payload[];
};

static _Atomic(struct block *) postbox[POSTBOXES];
static _Atomic uint64_t requests, looks;
static _Atomic bool done, forking; // forking: a thread forks again and again

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "pool_stress: %s\n", what);
    abort();
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// As many of 1 KiB to 2 KiB as of 512 KiB to 1 MiB.
static size_t random_size(uint64_t *state)
{
    size_t power = K << (next(state) % 10);

    return power + next(state) % (power + 1);
}

// The ends of a block, and a few words between: writing all of it would test the memory's speed.
static void visit(struct block *b, bool write)
{
    size_t bytes = b->size - sizeof *b;
    size_t step = bytes / 9 < 8 ? 8 : bytes / 9;

    for (size_t at = 0; at + 8 <= bytes;
         at = at + step + 8 > bytes && at < bytes - 8 ? bytes - 8 : at + step) {
        uint64_t want = b->seed * 0x9e3779b97f4a7c15u + at, have;
        if (write)
            memcpy(b->payload + at, &want, 8);
        else
            memcpy(&have, b->payload + at, 8);
        check(write || have == want, "a block was written by another thread");
    }
}

// The region does not grow while a fork is under way (pool/region/region_space.c), which a busy
// machine may draw out: the library then takes a block of jemalloc's own heap, and this waits.
static struct block *new_block(size_t size, bool zero)
{
    struct block *b = pool_get_new(size, zero);

    for (int ms = 0; !b && atomic_load(&forking) && ms < FORK_WAIT_MS; ms++) {
        usleep(1000);
        b = pool_get_new(size, zero);
    }
    return b;
}

static struct block *take(uint64_t *state)
{
    size_t size = random_size(state);
    bool zero = next(state) % 8 == 0;
    struct block *b;

    atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed);
    b = zero ? NULL : pool_get(size);
    if (!b)
        b = pool_get_transferred(size, zero);
    if (!b)
        b = new_block(size, zero);
    check(b != NULL, "out of memory");
    check(!zero || (b->size == 0 && ((char *)b)[size - 1] == 0), "a block that is not zero");
    check(pool_usable_size(b) >= size, "a block that is too small");
    b->size = size;
    b->seed = next(state);
    visit(b, true);
    return b;
}

static void give(struct block *b)
{
    visit(b, false);
    if (!pool_put(b))
        check(pool_put_slow(b) <= POOL_RELEASED, "a live block was refused");
}

// Of 16 KiB and more, to a size at random; where it cannot be had in place, nothing has changed.
static void resize(struct block *b, uint64_t *state)
{
    size_t size = random_size(state);

    visit(b, false);
    if (b->size < 16 * K || size < 16 * K)
        return;
    atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed);
    if (!pool_resize(b, size))
        return;
    check(pool_usable_size(b) >= size, "a block that was resized to less");
    b->size = size;
    visit(b, true);
}

static void *work(void *arg)
{
    struct block *mine[SLOTS] = {NULL};
    uint64_t state = (uintptr_t)arg * 7919 + 1;

    for (int turn = 0; turn < TURNS; turn++) {
        struct block **slot = &mine[next(&state) % SLOTS];
        if (!*slot) {
            *slot = take(&state);
        } else if (next(&state) % 4 == 0) {
            // To the next thread that comes by, and what lay there comes along.
            *slot = atomic_exchange(&postbox[next(&state) % POSTBOXES], *slot);
        } else if (next(&state) % 4 == 0) {
            resize(*slot, &state);
        } else {
            give(*slot);
            *slot = NULL;
        }
        if (next(&state) % 4096 == 0)
            pool_drain_self();
        if (next(&state) % 1024 == 0)
            pool_give_way(next(&state) % CEILING);
    }
    for (int i = 0; i < SLOTS; i++)
        if (mine[i])
            give(mine[i]);
    return NULL;
}

// Counters are right at every moment, so they never go back and count nothing that was not asked.
static void look(void)
{
    static struct pool_bucket_stats before[QUOTA_BUCKETS_MAX];
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX];
    unsigned n = pool_stats(s);
    uint64_t begun = atomic_load(&requests);

    check(n == array_len(buckets), "buckets");
    for (unsigned b = 0; b < n; b++) {
        check((s[b].limit_is_bytes ? s[b].free_bytes : s[b].free_blocks) <= s[b].limit,
              "more free blocks than the limit");
        check(s[b].created + s[b].reused <= begun, "more requests counted than were made");
        check(s[b].created >= before[b].created && s[b].reused >= before[b].reused &&
                  s[b].freed >= before[b].freed && s[b].released >= before[b].released,
              "a counter that goes back");
        before[b] = s[b];
    }
    check(quota_taken_bytes() <= CEILING, "more bytes than the ceiling");
    check(pool_free_bytes() <= 2 * CEILING, "nonsense");
    atomic_fetch_add(&looks, 1);
}

static void *torment(void *arg)
{
    uint64_t state = 4711;

    (void)arg;
    while (!atomic_load(&done)) {
        switch (next(&state) % 7) {
        case 6:
            holes_purge(UINT64_MAX);
            break;
        case 0:
            pool_trim(0);
            break;
        case 1:
            pool_trim(next(&state) % CEILING);
            break;
        case 2:
            pool_age();
            break;
        case 3:
            quota_set_max(next(&state) % 4 ? CEILING : next(&state) % CEILING);
            break;
        default:
            look();
        }
        // Now and then nothing, so that caches fill.
        if (next(&state) % 8 == 0)
            usleep(1000);
    }
    return NULL;
}

static void in_child(void)
{
    alarm(60);
    pthread_t t;

    check(pthread_create(&t, NULL, work, (void *)99) == 0, "thread");
    pool_trim(0);
    pthread_join(t, NULL);
    look();
    _exit(0);
}

static void *forks(void *arg)
{
    (void)arg;
    for (int i = 0; i < FORKS_MAX && !atomic_load(&done); i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            in_child();
        waitpid(pid, &status, 0);
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child failed");
    }
    return NULL;
}

static void *live_and_die(void *arg)
{
    for (int i = 0; i < LIVES / THREADS; i++) {
        pthread_t t;
        check(pthread_create(&t, NULL, work, (void *)((uintptr_t)arg * 1000 + (uintptr_t)i)) == 0,
              "thread");
        pthread_join(t, NULL);
    }
    return NULL;
}

static void nothing_leaked(void)
{
    struct pool_bucket_stats s[QUOTA_BUCKETS_MAX];

    pool_trim(0);
    for (unsigned b = 0, n = pool_stats(s); b < n; b++) {
        check(s[b].live_blocks == 0 && s[b].live_bytes == 0, "live blocks at the end");
        check(s[b].free_blocks == 0 && s[b].free_bytes == 0, "free blocks after trim");
        check(s[b].created + s[b].reused == s[b].freed, "requests and frees differ");
        check(s[b].created == s[b].released, "blocks that jemalloc did not get back");
        check(quota_bucket_taken(b) == 0, "quota that was not returned");
    }
    check(quota_taken_bytes() == 0, "bytes of quota that were not returned");
}

static void run(bool with_forks, bool *can_drain)
{
    const struct pool_options options = {buckets, array_len(buckets), CEILING, REGION_THP_DEFAULT};
    pthread_t worker[THREADS], tormentor, forker;

    atomic_store(&forking, with_forks);
    check(pool_init(&options, can_drain) == 0, "no pools");
    check(pthread_atfork(pool_prefork, pool_postfork_parent, pool_postfork_child) == 0, "atfork");
    for (uintptr_t i = 0; i < THREADS; i++)
        check(pthread_create(&worker[i], NULL, live_and_die, (void *)(i + 1)) == 0, "thread");
    check(pthread_create(&tormentor, NULL, torment, NULL) == 0, "thread");
    if (with_forks)
        check(pthread_create(&forker, NULL, forks, NULL) == 0, "thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(worker[i], NULL);
    atomic_store(&done, true);
    pthread_join(tormentor, NULL);
    if (with_forks)
        pthread_join(forker, NULL);
    for (int i = 0; i < POSTBOXES; i++)
        if (postbox[i])
            give(postbox[i]);
    check(looks > 0, "no block was read");
    nothing_leaked();
}

static void refuse_membarrier(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {array_len(filter), filter};

    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
          "seccomp");
}

// Started anew rather than forked: after a fork jemalloc makes its locks again where they are,
// which ThreadSanitizer takes for locking them twice.
static bool start(const char *self, const char *variant)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        execl("/proc/self/exe", self, variant, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    if (status)
        fprintf(stderr, "pool_stress: %s: status %x\n", variant, (unsigned)status);
    return status == 0;
}

int main(int argc, char **argv)
{
    bool can_drain, refused = argc == 2 && strcmp(argv[1], "refused") == 0;

    if (argc != 2) {
        bool ok = start(argv[0], "plain");
        ok &= start(argv[0], "refused");
#ifndef __SANITIZE_THREAD__
        ok &= start(argv[0], "forks");
#endif
        return ok ? 0 : 1;
    }
    if (refused)
        refuse_membarrier();
    run(strcmp(argv[1], "forks") == 0, &can_drain);
    check(can_drain == !refused, "a kernel that does not do as it is told about membarrier");
    return 0;
}
