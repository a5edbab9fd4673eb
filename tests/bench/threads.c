// threads - patterns of several threads and processes: pc1, pc2, larson2, larson8, churn, fork,
// exec.
//
//   threads PATTERN SIZE touched|untouched [MS]    ns an operation (wall clock), peak and last RSS
//
// pcN   N producers allocate, N consumers check and free; blocks travel through one bounded queue
//       in batches of 32, so that the queue is not what is measured. An operation is a block.
// larsonN  N threads have 1000 live blocks each; a step frees a random one and allocates its
//       successor, and after 20,000 steps a thread ends and a new one has its blocks. An operation
//       is a step of any thread.
// churn threads that live for 64 blocks (allocated, then freed), four at a time. An operation is a
//       thread.
// fork  a process with 1000 live blocks forks a child that allocates, frees and exits.
// exec  as fork, and the child becomes /bin/true, under the same library.
#include "history.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BATCH = 32,
    MAX_SLOTS = 32,
    SIZES = 4096,
    LIVE = 1000,
    QUEUE_BYTES = 64 << 20, // the most that is under way: not a test of page faults
    SPINS = 200,
};

static uint32_t sizes[SIZES];
static bool touched;
static atomic_bool stop;

// A bounded queue of batches for any number of threads at either end: a slot's turn says whether
// it waits for the producer or the consumer of a position.
static struct slot {
    _Alignas(LINE) atomic_size_t turn;
    uint64_t tag;
    void *block[BATCH];
} slots[MAX_SLOTS];
static size_t slot_count;
static _Alignas(LINE) atomic_size_t head;
static _Alignas(LINE) atomic_size_t tail;

static struct worker {
    _Alignas(LINE) atomic_size_t done;
    size_t id;
} workers[4];

ALWAYS_INLINE void relax(unsigned *spins)
{
    if (++*spins % SPINS)
        __builtin_ia32_pause();
    else
        sched_yield();
}

// Returns false when everything is over.
static bool await(struct slot *s, size_t turn)
{
    for (unsigned spins = 0; atomic_load_explicit(&s->turn, memory_order_acquire) != turn;) {
        if (atomic_load_explicit(&stop, memory_order_relaxed))
            return false;
        relax(&spins);
    }
    return true;
}

static void *produce(void *arg)
{
    struct worker *me = arg;
    size_t at = me->id * SIZES / 2;
    uint64_t tag = (uint64_t)me->id << 48;
    for (;;) {
        void *block[BATCH];
        for (size_t i = 0; i < BATCH; i++) {
            size_t size = sizes[at++ % SIZES];
            block[i] = take(size);
            if (touched)
                touch(block[i], size, tag + i);
        }
        size_t position = atomic_fetch_add_explicit(&head, 1, memory_order_relaxed);
        struct slot *s = &slots[position % slot_count];
        if (!await(s, 2 * (position / slot_count)))
            return NULL;
        memcpy(s->block, block, sizeof block);
        s->tag = tag;
        tag += BATCH;
        atomic_store_explicit(&s->turn, 2 * (position / slot_count) + 1, memory_order_release);
    }
}

static void *consume(void *arg)
{
    struct worker *me = arg;
    for (size_t done = 0;;) {
        size_t position = atomic_fetch_add_explicit(&tail, 1, memory_order_relaxed);
        struct slot *s = &slots[position % slot_count];
        if (!await(s, 2 * (position / slot_count) + 1))
            return NULL;
        void *block[BATCH];
        memcpy(block, s->block, sizeof block);
        uint64_t tag = s->tag;
        atomic_store_explicit(&s->turn, 2 * (position / slot_count) + 2, memory_order_release);
        for (size_t i = 0; i < BATCH; i++) {
            if (touched)
                expect(block[i], tag + i);
            free(block[i]);
        }
        atomic_store_explicit(&me->done, done += BATCH, memory_order_relaxed);
    }
}

static size_t consumed(size_t pairs)
{
    size_t n = 0;
    for (size_t i = 0; i < pairs; i++)
        n += atomic_load_explicit(&workers[pairs + i].done, memory_order_relaxed);
    return n;
}

static void start(pthread_t *thread, void *(*body)(void *), void *arg)
{
    if (pthread_create(thread, NULL, body, arg))
        die("pthread_create");
}

static double pass_on(size_t pairs, unsigned ms)
{
    pthread_t thread[4];
    uint64_t bytes = 0;
    for (size_t i = 0; i < SIZES; i++)
        bytes += sizes[i];
    for (slot_count = MAX_SLOTS; slot_count > 2; slot_count /= 2)
        if (slot_count * BATCH * (bytes / SIZES) <= QUEUE_BYTES)
            break;
    for (size_t i = 0; i < 2 * pairs; i++) {
        workers[i].id = i;
        start(&thread[i], i < pairs ? produce : consume, &workers[i]);
    }
    uint64_t before = wall_ns();
    do
        usleep(WARM_US * 2);
    while (consumed(pairs) < 4 * SIZES && wall_ns() - before < WARM_MAX_US * 1000u);
    before = wall_ns();
    size_t first = consumed(pairs);
    do
        usleep(ms * 1000);
    while (consumed(pairs) - first < 100 * BATCH && wall_ns() - before < 10000000000u);
    size_t passed = consumed(pairs) - first;
    uint64_t after = wall_ns();
    atomic_store(&stop, true);
    for (size_t i = 0; i < 2 * pairs; i++)
        pthread_join(thread[i], NULL);
    if (!passed)
        die("no block arrived");
    return (double)(after - before) / (double)passed;
}

static double pc1(unsigned ms)
{
    return pass_on(1, ms);
}

static double pc2(unsigned ms)
{
    return pass_on(2, ms);
}

enum { CONNECTIONS = 8, HANDED_ON_AFTER = 20000 };

static struct connections {
    _Alignas(LINE) atomic_size_t done;
    size_t at;
    uint64_t state;
    void *block[LIVE];
} connections[CONNECTIONS];

static void renew(struct connections *c, size_t i)
{
    size_t size = sizes[c->at++ % SIZES];
    void *p = take(size);
    if (touched)
        touch(p, size, (uintptr_t)&c->block[i]);
    c->block[i] = p;
}

static void *serve(void *arg)
{
    struct connections *c = arg;
    pthread_t successor;
    size_t done = atomic_load_explicit(&c->done, memory_order_relaxed);
    for (size_t step = 0; step < HANDED_ON_AFTER; step++) {
        if (atomic_load_explicit(&stop, memory_order_relaxed))
            return NULL;
        c->state = c->state * 6364136223846793005u + 1442695040888963407u;
        size_t i = (c->state >> 33) % LIVE;
        if (touched)
            expect(c->block[i], (uintptr_t)&c->block[i]);
        free(c->block[i]);
        renew(c, i);
        atomic_store_explicit(&c->done, ++done, memory_order_relaxed);
    }
    start(&successor, serve, c);
    pthread_detach(successor);
    return NULL;
}

static size_t served(size_t threads)
{
    size_t n = 0;
    for (size_t i = 0; i < threads; i++)
        n += atomic_load_explicit(&connections[i].done, memory_order_relaxed);
    return n;
}

static double larson(size_t threads, unsigned ms)
{
    pthread_t thread;
    for (size_t t = 0; t < threads; t++) {
        struct connections *c = &connections[t];
        c->at = t * SIZES / threads;
        c->state = t;
        for (size_t i = 0; i < LIVE; i++)
            renew(c, i);
        start(&thread, serve, c);
        pthread_detach(thread);
    }
    uint64_t before = wall_ns();
    do
        usleep(WARM_US * 2);
    while (served(threads) < threads * 10 * HANDED_ON_AFTER &&
           wall_ns() - before < WARM_MAX_US * 1000u);
    before = wall_ns();
    size_t first = served(threads);
    usleep(ms * 1000);
    size_t steps = served(threads) - first;
    uint64_t after = wall_ns();
    atomic_store(&stop, true);
    if (!steps)
        die("no thread ran");
    return (double)(after - before) / (double)steps;
}

static double larson2(unsigned ms)
{
    return larson(2, ms);
}

static double larson8(unsigned ms)
{
    return larson(8, ms);
}

static void *live_briefly(void *arg)
{
    void *block[64];
    size_t at = (size_t)(uintptr_t)arg;
    for (size_t i = 0; i < 64; i++) {
        size_t size = sizes[(at + i) % SIZES];
        block[i] = take(size);
        if (touched)
            touch(block[i], size, at + i);
    }
    for (size_t i = 0; i < 64; i++) {
        if (touched)
            expect(block[i], at + i);
        free(block[i]);
    }
    return NULL;
}

static void four_threads(void)
{
    static uintptr_t at;
    pthread_t thread[4];
    for (size_t i = 0; i < 4; i++)
        start(&thread[i], live_briefly, (void *)(at += 64));
    for (size_t i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
}

static void child(bool exec)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    int status;
    pid_t pid = fork();
    if (!pid) {
        if (exec) {
            execv("/bin/true", argv);
            _exit(127);
        }
        live_briefly(NULL);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        die("a child failed");
}

static void fork_only(void)
{
    child(false);
}

static void fork_exec(void)
{
    child(true);
}

static double repeat(void (*once)(void), size_t ops, unsigned ms)
{
    size_t n = 0;
    uint64_t start;
    for (start = wall_ns(); wall_ns() - start < WARM_US * 1000u;)
        once();
    start = wall_ns();
    do {
        once();
        n += ops;
    } while (wall_ns() - start < ms * 1000000u);
    return (double)(wall_ns() - start) / (double)n;
}

static double churn(unsigned ms)
{
    return repeat(four_threads, 4, ms);
}

static void live_long(void)
{
    for (size_t i = 0; i < LIVE; i++) {
        void *p = take(sizes[i]);
        if (touched)
            touch(p, sizes[i], i);
    }
}

static double fork_children(unsigned ms)
{
    live_long();
    return repeat(fork_only, 1, ms);
}

static double exec_children(unsigned ms)
{
    live_long();
    return repeat(fork_exec, 1, ms);
}

static const struct {
    const char *name;
    double (*run)(unsigned ms);
} patterns[] = {
    {"pc1", pc1},
    {"pc2", pc2},
    {"larson2", larson2},
    {"larson8", larson8},
    {"churn", churn},
    {"fork", fork_children},
    {"exec", exec_children},
};

int main(int argc, char **argv)
{
    check_allocator();
    if (argc < 4)
        die("usage: threads PATTERN SIZE touched|untouched [MS]");
    make_history();
    touched = !strcmp(argv[3], "touched");
    for (size_t i = 0; i < SIZES; i++)
        sizes[i] = draw_size(argv[2]);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (!strcmp(patterns[i].name, argv[1])) {
            report(patterns[i].run(argc > 4 ? (unsigned)atoi(argv[4]) : 20));
            return 0;
        }
    die("unknown pattern");
}
