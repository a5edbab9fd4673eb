// signal_alloc warm|cold|jump: a timer's handler allocates and frees pooled blocks while the
// program is doing just that, wherever it is. In `warm` the program lives on blocks kept for reuse,
// in `cold` it also takes new ones and gives many back, and in `jump` the handler leaves by
// siglongjmp, so that a call into the allocator is never finished. POSIX promises none of this;
// programs do it, and a hang or a block with two owners is a poor answer. Ends after 3 s of its own
// time.

#include "tests/preload/victim.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

enum { OWNED = 16, SAMPLE = 64 };

struct owned {
    unsigned char *p;
    size_t size;
    uint64_t seed;
};

static struct owned in_handler[OWNED];
static volatile sig_atomic_t handled, jumps_allowed;
static sigjmp_buf back;

static void replace(struct owned *o, size_t size, uint64_t seed)
{
    CHECK(!o->p || (victim_intact(o->p, SAMPLE, SAMPLE, o->seed) &&
                    victim_intact(o->p + o->size - SAMPLE, SAMPLE, SAMPLE, o->seed)),
          "a block of %zu has two owners", o->size);
    unsigned char *old = o->p;
    o->p = NULL;
    free(old);
    unsigned char *p = malloc(size);
    CHECK(p, "%zu bytes", size);
    victim_fill(p, SAMPLE, seed);
    victim_fill(p + size - SAMPLE, SAMPLE, seed);
    *o = (struct owned){p, size, seed};
}

static void handler(int sig)
{
    static uint64_t state = 99;
    (void)sig;
    int saved = errno;
    for (int i = 0; i < 4; i++)
        replace(&in_handler[victim_random(&state) % OWNED], victim_pooled_size(&state),
                victim_random(&state));
    handled++;
    errno = saved;
    if (jumps_allowed) {
        jumps_allowed = 0;
        siglongjmp(back, 1);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void warm(uint64_t *state)
{
    static struct owned mine[OWNED];
    for (int i = 0; i < 64; i++)
        replace(&mine[victim_random(state) % OWNED], KIB << (victim_random(state) % 6),
                victim_random(state));
}

static void cold(uint64_t *state)
{
    static struct owned mine[2000];
    for (size_t i = 0; i < COUNT(mine); i++)
        replace(&mine[i], KIB + victim_random(state) % (64 * KIB), victim_random(state));
    for (size_t i = 0; i < COUNT(mine); i++) {
        free(mine[i].p);
        mine[i].p = NULL;
    }
}

// What a jump interrupts is lost, never shared: the block may leak, so few jumps are made.
static void jump(uint64_t *state)
{
    // Where the jump cut a replacement in two, the block has no known owner.
    static struct owned mine[OWNED];
    static volatile size_t at;
    if (sigsetjmp(back, 1)) {
        mine[at].p = NULL;
        return;
    }
    jumps_allowed = 1;
    for (int i = 0; i < 4096; i++) {
        at = victim_random(state) % OWNED;
        replace(&mine[at], KIB << (victim_random(state) % 6), victim_random(state));
    }
    jumps_allowed = 0;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "usage: signal_alloc warm|cold|jump");
    void (*work)(uint64_t *) = argv[1][0] == 'w' ? warm : argv[1][0] == 'c' ? cold : jump;
    uint64_t state = 1;
    for (int i = 0; i < 100; i++)
        work(&state);
    for (int i = 0; i < 100; i++)
        handler(0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0, "sigaction");
    struct itimerval often = {{0, 97}, {0, 97}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    double end = now() + 3;
    while (now() < end)
        work(&state);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(handled > 1000, "the handler ran %d times", (int)handled);
    return 0;
}
