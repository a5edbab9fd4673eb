// large_blocks reused|threads|arena|marked|child|idle|twice: blocks of more than 1 MiB that are
// freed and wait for the next request.
//
//   reused   the next request of the size class has the block, as it was, without a page fault;
//            one of another class has not, and calloc()'s reads as zero
//   threads  four of them allocate, resize, pass on and free; each block has its contents
//   arena    a block of the program's own arena is freed, and the arena reset: it does not come
//   back marked   pages without access are freed; the next block can be written child    a forked
//   child and its parent have the same block, each for itself idle     what is not asked for again
//   goes back within 10 s, 12 at most twice    the second free is told of (TIDEPOOL_CHECK=warn),
//   and the block given to one request

#include "tests/preload/victim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const size_t sizes[] = {MIB + 101, 5 * MIB / 4,  3 * MIB,  3 * MIB + 200,
                               8 * MIB,   20 * MIB + 7, 64 * MIB, 64 * MIB + 1};

static long faults(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return u.ru_minflt;
}

static void reuses(size_t size)
{
    unsigned char *p = malloc(size), *q;

    CHECK(p, "no %zu bytes", size);
    victim_fill(p, size, size);
    free(victim_hide(p));
    long before = faults();
    q = malloc(size - 100);
    if (size <= 64 * MIB) {
        CHECK(q == p, "another block: %p, not %p of %zu", (void *)q, (void *)p, size);
        CHECK(victim_intact(q, size, size, size), "changed while it was free");
        CHECK(faults() - before < 16, "%ld faults", faults() - before);
    }
    free(q);
    q = malloc(2 * size);
    CHECK(q && q != p, "a block that is too small");
    free(q);
    q = calloc(1, size);
    for (size_t i = 0; i < size; i += 509)
        CHECK(!q[i], "calloc: %zu of %zu", i, size);
    free(q);
}

static void reused(void)
{
    for (size_t i = 0; i < COUNT(sizes); i++)
        reuses(sizes[i]);
}

enum { SHARED = 12, STEPS = 400 };
struct shared {
    unsigned char *p;
    size_t size;
    uint64_t seed;
};
static _Atomic(struct shared *) shared[SHARED];

static void check_free(struct shared *s)
{
    if (!s)
        return;
    CHECK(victim_intact(s->p, s->size < 4096 ? s->size : 4096, s->size, s->seed), "the first page");
    CHECK(s->p[s->size - 1] == (unsigned char)s->seed, "the last byte of %zu", s->size);
    free(s->p);
    free(s);
}

static struct shared *make(uint64_t *state)
{
    struct shared *s = malloc(sizeof *s);
    size_t first = MIB + victim_random(state) % (2 * MIB);

    s->seed = victim_random(state);
    s->size = MIB + victim_random(state) % (5 * MIB);
    s->p = malloc(first);
    CHECK(s->p, "no %zu bytes", first);
    victim_fill(s->p, 8192, s->seed);
    s->p = realloc(s->p, s->size);
    CHECK(s->p && victim_intact(s->p, 4096, 8192, s->seed), "resized from %zu to %zu", first,
          s->size);
    victim_fill(s->p, 4096, s->seed);
    s->p[s->size - 1] = (unsigned char)s->seed;
    return s;
}

static void *pass_on(void *arg)
{
    uint64_t state = 77 + (uintptr_t)arg;

    for (int i = 0; i < STEPS; i++)
        check_free(atomic_exchange(&shared[victim_random(&state) % SHARED], make(&state)));
    return NULL;
}

static void threads(void)
{
    pthread_t t[4];

    for (uintptr_t i = 0; i < COUNT(t); i++)
        CHECK(pthread_create(&t[i], NULL, pass_on, (void *)i) == 0, "thread");
    for (size_t i = 0; i < COUNT(t); i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < SHARED; i++)
        check_free(shared[i]);
}

static void arena(void)
{
    int (*mallctl)(const char *, void *, size_t *, void *, size_t) =
        (int (*)(const char *, void *, size_t *, void *, size_t))victim_symbol("mallctl");
    void *(*mallocx)(size_t, int) = (void *(*)(size_t, int))victim_symbol("mallocx");
    unsigned index;
    size_t len = sizeof index;
    char name[40];

    CHECK(mallctl("arenas.create", &index, &len, NULL, 0) == 0, "arenas.create");
    int flags = (int)((index + 1) << 20) | 1 << 8 | 16; // MALLOCX_ARENA, no cache, on 64 KiB
    unsigned char *p = mallocx(3 * MIB, flags);
    CHECK(p, "mallocx");
    free(victim_hide(p));
    unsigned char *q = malloc(3 * MIB);
    CHECK(q != p, "the arena's block serves another request");
    snprintf(name, sizeof name, "arena.%u.reset", index);
    CHECK(mallctl(name, NULL, NULL, NULL, 0) == 0, "%s", name);
    victim_fill(q, 3 * MIB, 1);
    free(q);
}

static void marked(void)
{
    unsigned char *p = malloc(3 * MIB);

    memset(p, 1, 3 * MIB);
    CHECK(mprotect(p + MIB, 8192, PROT_NONE) == 0, "mprotect");
    free(victim_hide(p));
    for (int i = 0; i < 3; i++) {
        p = malloc(3 * MIB);
        victim_fill(p, 3 * MIB, 5);
        free(p);
    }
}

static void child(void)
{
    unsigned char *p = malloc(3 * MIB);
    int status;

    victim_fill(p, 3 * MIB, 1);
    free(p);
    pid_t pid = fork();
    p = malloc(3 * MIB);
    victim_fill(p, 3 * MIB, pid ? 2 : 3);
    if (!pid) {
        CHECK(victim_intact(p, 3 * MIB, 3 * MIB, 3), "the child's");
        free(p);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %x", status);
    CHECK(victim_intact(p, 3 * MIB, 3 * MIB, 2), "the parent's");
    free(p);
}

static void idle(void)
{
    unsigned char *p[2];
    size_t before = victim_resident_bytes(), now = 0;

    for (size_t i = 0; i < COUNT(p); i++)
        memset(p[i] = malloc(40 * MIB), 1, 40 * MIB);
    for (size_t i = 0; i < COUNT(p); i++)
        free(victim_hide(p[i]));
    CHECK(victim_resident_bytes() > before + 60 * MIB, "nothing was kept");
    for (int i = 0; i < 120; i++) {
        now = victim_resident_bytes();
        if (now < before + 8 * MIB)
            return;
        usleep(100 * 1000);
    }
    CHECK(false, "%zu MiB after 12 s", now / MIB);
}

static void twice(void)
{
    unsigned char *p = malloc(3 * MIB), *q, *r;

    free(victim_hide(p));
    free(victim_hide(p));
    q = malloc(3 * MIB);
    r = malloc(3 * MIB);
    CHECK(q != r, "one block for two requests");
    free(q);
    free(r);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"reused", reused}, {"threads", threads}, {"arena", arena}, {"marked", marked},
                 {"child", child},   {"idle", idle},       {"twice", twice}};

    for (size_t i = 0; i < COUNT(modes); i++)
        if (argc == 2 && strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    CHECK(false, "usage: large_blocks MODE");
}
