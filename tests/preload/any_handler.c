// any_handler CALL [THREADS]: timers' handlers use the whole allocation family, in every size,
// while the program makes the calls that CALL names, so that most signals interrupt it in the
// middle of one. Blocks go from the program to handlers and back. Ends after a number of signals.
// POSIX promises none of this; programs do it, and a hang, a crash or a block with two owners is a
// poor answer.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

enum { SIGNALS = 1500, SLOTS = 32, ENDS = 32, THREADS_MAX = 4 };

struct owned {
    unsigned char *p;
    size_t size;
    uint64_t seed;
};

static _Atomic(struct owned *) postbox[SLOTS];
static _Atomic int handled, nested;
static _Thread_local uint64_t handler_state;
static _Thread_local struct owned *volatile kept[8];
static _Thread_local sigjmp_buf back;
static _Thread_local volatile sig_atomic_t may_jump;
static int (*jemalloc_ctl)(const char *, void *, size_t *, void *, size_t);
static void (*jemalloc_print)(void (*)(void *, const char *), void *, const char *);

static size_t any_size(uint64_t *state)
{
    switch (victim_random(state) % 4) {
    case 0:
        return 1 + victim_random(state) % KIB;
    case 1:
        return MIB + victim_random(state) % (2 * MIB);
    default:
        return victim_pooled_size(state);
    }
}

static void mark(struct owned *o)
{
    size_t end = o->size < ENDS ? o->size : ENDS;
    victim_fill(o->p, end, o->seed);
    victim_fill(o->p + o->size - end, end, o->seed);
}

static void expect(const struct owned *o)
{
    size_t end = o->size < ENDS ? o->size : ENDS;
    CHECK(malloc_usable_size(o->p) >= o->size, "%zu usable of %zu", malloc_usable_size(o->p),
          o->size);
    CHECK(o->size < 2 * ENDS || victim_intact(o->p, end, end, o->seed),
          "a block of %zu has two owners", o->size);
    CHECK(victim_intact(o->p + o->size - end, end, end, o->seed), "a block of %zu has two owners",
          o->size);
}

static unsigned char *any_block(size_t size, uint64_t *state)
{
    void *p = NULL;
    switch (victim_random(state) % 4) {
    case 0:
        p = calloc(1, size);
        CHECK(!p || (!((char *)p)[0] && !((char *)p)[size / 2] && !((char *)p)[size - 1]),
              "calloc of %zu is not zero", size);
        break;
    case 1: {
        size_t alignment = (size_t)16 << victim_random(state) % 13;
        CHECK(posix_memalign(&p, alignment, size) == 0, "posix_memalign of %zu", size);
        CHECK((uintptr_t)p % alignment == 0, "%p is not aligned to %zu", p, alignment);
        break;
    }
    default:
        p = malloc(size);
    }
    CHECK(p, "%zu bytes", size);
    return p;
}

static struct owned *make(size_t size, uint64_t *state)
{
    struct owned *o = malloc(sizeof *o);
    CHECK(o, "a small block");
    *o = (struct owned){any_block(size, state), size, victim_random(state)};
    mark(o);
    return o;
}

static void drop(struct owned *o)
{
    if (!o)
        return;
    expect(o);
    free(o->p);
    free(o);
}

static void resize(struct owned *o, size_t size)
{
    size_t end = o->size < ENDS ? o->size : ENDS;
    expect(o);
    unsigned char *p = realloc(o->p, size);
    CHECK(p, "realloc to %zu", size);
    CHECK(size < end || o->size < 2 * ENDS || victim_intact(p, end, end, o->seed),
          "realloc of %zu to %zu lost bytes", o->size, size);
    o->p = p;
    o->size = size;
    mark(o);
}

static struct owned *swap(struct owned *o, uint64_t *state)
{
    return atomic_exchange(&postbox[victim_random(state) % SLOTS], o);
}

static void ask_for_figures(void)
{
    size_t bytes, len = sizeof bytes;
    struct mallinfo2 m = mallinfo2();
    CHECK(m.uordblks <= m.arena, "more in use than there is");
    if (jemalloc_ctl)
        jemalloc_ctl("stats.allocated", &bytes, &len, NULL, 0);
}

static void handler(int sig)
{
    int saved = errno;
    uint64_t *state = &handler_state;
    (void)sig;
    if (handled % 16 == 3) {
        raise(sig == SIGALRM ? SIGPROF : SIGALRM);
        atomic_fetch_add(&nested, 1);
    }
    for (int i = 0; i < 3; i++) {
        struct owned *volatile *k = &kept[victim_random(state) % COUNT(kept)];
        struct owned *o = *k;
        *k = NULL;
        if (o && victim_random(state) % 2)
            resize(o, any_size(state));
        drop(swap(o, state));
        o = make(any_size(state), state);
        if (!*k)
            *k = o;
        else
            drop(o);
    }
    if (handled % 8 == 0)
        ask_for_figures();
    if (handled % 128 == 0)
        malloc_trim(0);
    handled++;
    errno = saved;
    if (may_jump) {
        may_jump = 0;
        siglongjmp(back, 1);
    }
}

static void keep_busy(size_t size, uint64_t *state)
{
    drop(swap(make(size, state), state));
}

static void small(uint64_t *state)
{
    void *p[64];
    for (size_t i = 0; i < COUNT(p); i++)
        p[i] = malloc(1 + victim_random(state) % 1000);
    for (size_t i = 0; i < COUNT(p); i++)
        free(p[i]);
    keep_busy(1 + victim_random(state) % 1000, state);
}

static void zeroed(uint64_t *state)
{
    void *p[16];
    for (size_t i = 0; i < COUNT(p); i++)
        p[i] = calloc(1 + victim_random(state) % 10, 1 + victim_random(state) % 1000);
    for (size_t i = 0; i < COUNT(p); i++)
        free(p[i]);
    keep_busy(any_size(state), state);
}

static void aligned(uint64_t *state)
{
    void *p = aligned_alloc((size_t)64 << victim_random(state) % 11, any_size(state));
    CHECK(p, "an aligned block");
    free(p);
    keep_busy(any_size(state), state);
}

static void pooled(uint64_t *state)
{
    keep_busy(victim_pooled_size(state), state);
}

static void large(uint64_t *state)
{
    keep_busy(MIB + victim_random(state) % (4 * MIB), state);
}

static void resized(uint64_t *state)
{
    struct owned *o = make(any_size(state), state);
    for (int i = 0; i < 8; i++)
        resize(o, any_size(state));
    drop(swap(o, state));
}

static void figures(uint64_t *state)
{
    ask_for_figures();
    keep_busy(any_size(state), state);
}

static void controls(uint64_t *state)
{
    if (jemalloc_ctl)
        jemalloc_ctl("arena.4096.purge", NULL, NULL, NULL, 0);
    keep_busy(any_size(state), state);
}

static void trims(uint64_t *state)
{
    for (int i = 0; i < 16; i++)
        keep_busy(any_size(state), state);
    malloc_trim(0);
}

static void write_nothing(void *arg, const char *text)
{
    (void)arg;
    free(strdup(text));
}

static void prints(uint64_t *state)
{
    if (jemalloc_print)
        jemalloc_print(write_nothing, NULL, NULL);
    keep_busy(any_size(state), state);
}

// What the handler interrupts is the program's own code, and left for good.
static void jumps(uint64_t *state)
{
    if (!sigsetjmp(back, 1)) {
        may_jump = 1;
        while (may_jump)
            ;
    }
    keep_busy(any_size(state), state);
}

static void *short_life(void *arg)
{
    uint64_t state = (uintptr_t)arg | 1;
    handler_state = state;
    for (int i = 0; i < 20; i++)
        small(&state);
    return NULL;
}

static void lives(uint64_t *state)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, short_life, (void *)(uintptr_t)victim_random(state)) == 0,
          "a thread");
    pthread_join(t, NULL);
}

static const struct {
    const char *name;
    void (*call)(uint64_t *);
} calls[] = {{"small", small}, {"zeroed", zeroed},   {"aligned", aligned}, {"pooled", pooled},
             {"large", large}, {"resized", resized}, {"figures", figures}, {"controls", controls},
             {"trims", trims}, {"prints", prints},   {"jumps", jumps},     {"lives", lives}};
static void (*call)(uint64_t *);

// On a stack of its own; each thread has its timer.
static void start_timer(int sig, timer_t *timer)
{
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig};
    struct itimerspec often = {{0, 200000}, {0, 200000}};
    e._sigev_un._tid = (int)syscall(SYS_gettid);
    CHECK(timer_create(CLOCK_MONOTONIC, &e, timer) == 0, "timer_create");
    CHECK(timer_settime(*timer, 0, &often, NULL) == 0, "timer_settime");
}

static void *work(void *arg)
{
    uint64_t state = (uintptr_t)arg * 977 + 1;
    stack_t stack = {.ss_sp = malloc(256 * KIB), .ss_size = 256 * KIB},
            none = {.ss_flags = SS_DISABLE};
    timer_t timer;
    handler_state = state + 1;
    CHECK(sigaltstack(&stack, NULL) == 0, "sigaltstack");
    start_timer((uintptr_t)arg % 2 ? SIGPROF : SIGALRM, &timer);
    while (handled < SIGNALS)
        call(&state);
    timer_delete(timer);
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGALRM);
    sigaddset(&both, SIGPROF);
    pthread_sigmask(SIG_BLOCK, &both, NULL);
    sigaltstack(&none, NULL);
    free(stack.ss_sp);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t t[THREADS_MAX];
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    CHECK(argc > 1 && threads >= 1 && threads <= THREADS_MAX, "usage: any_handler CALL [THREADS]");
    for (size_t i = 0; i < COUNT(calls); i++)
        if (strcmp(calls[i].name, argv[1]) == 0)
            call = calls[i].call;
    CHECK(call, "no call is named %s", argv[1]);
    jemalloc_ctl =
        (int (*)(const char *, void *, size_t *, void *, size_t))victim_symbol("mallctl");
    jemalloc_print = (void (*)(void (*)(void *, const char *), void *, const char *))victim_symbol(
        "malloc_stats_print");
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0, "sigaction");
    CHECK(signal(SIGPROF, handler) != SIG_ERR, "signal");
    for (uintptr_t i = 1; i < threads; i++)
        CHECK(pthread_create(&t[i], NULL, work, (void *)i) == 0, "a thread");
    work(NULL);
    for (unsigned i = 1; i < threads; i++)
        pthread_join(t[i], NULL);
    CHECK(nested > 0, "no handler interrupted another");
    return 0;
}
