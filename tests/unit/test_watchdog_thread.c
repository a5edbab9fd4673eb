// The thread and the assist in this very process, against a limit of our own a little above what it
// uses now. Criterion runs each test in a process of its own, so each starts anew.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pressure/direct_reclaim.h"
#include "pressure/evaluate.h"
#include "pressure/promise.h"
#include "pressure/stats_snapshot.h"
#include "pressure/usage/proc.h"
#include "pressure/watchdog_thread.h"
#include "shim/clock.h"
#include "tests/unit/pressure_grow.h"

#define M ((size_t)1 << 20)
#define PATIENCE_MS 10000

static struct pressure_options options;
static _Atomic unsigned reclaims, ticks, deepest;
static _Atomic int level_seen;
static _Atomic uint64_t kept, ceiling, ceiling_limit;

static size_t reclaim(uint64_t keep, enum pressure_cause cause)
{
    (void)cause;
    atomic_fetch_add(&reclaims, 1);
    atomic_store(&kept, keep);
    struct pressure_stats before, after;
    pressure_stats(&before);
    pressure_grow(1024 * M);
    pressure_stats(&after);
    errno = EBADMSG;
    // Of one thread only: others may look meanwhile.
    if (!options.thread && after.evaluations != before.evaluations)
        atomic_fetch_add(&deepest, 1);
    return 0;
}

static void tick(uint64_t now_ms)
{
    (void)now_ms;
    atomic_fetch_add(&ticks, 1);
}

static void on_level(enum pressure_level from, enum pressure_level to,
                     const struct pressure_sample *s)
{
    (void)from, (void)s;
    atomic_store(&level_seen, (int)to);
}

static void set_keep(uint64_t keep, uint64_t limit)
{
    atomic_store(&ceiling, keep);
    atomic_store(&ceiling_limit, limit);
}

static const struct pressure_hooks hooks = {
    .reclaim = reclaim, .set_keep = set_keep, .tick = tick, .on_level = on_level};

static struct pressure_stats stats(void)
{
    struct pressure_stats s;
    pressure_stats(&s);
    return s;
}

// `room` more than now.
static void limit_to(size_t room)
{
    struct proc_rss rss;
    cr_assert(eq(int, proc_read_rss("", &rss), 0));
    options = pressure_defaults;
    options.source = PRESSURE_USAGE_RSS;
    options.limit_bytes = rss.anon_bytes + room;
}

static void touch_new(size_t size)
{
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(ne(ptr, p, MAP_FAILED));
    memset(p, 1, size);
}

static unsigned threads(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

#define SOON(x)                                                                                    \
    do {                                                                                           \
        for (int ms_ = 0; ms_ < PATIENCE_MS && !(x); ms_++)                                        \
            usleep(1000);                                                                          \
        cr_expect(eq(int, !(x), 0), #x);                                                           \
    } while (0)

Test(watchdog_thread, small_programs_stay_single_threaded)
{
    options = pressure_defaults;
    watchdog_thread_init(&options, &hooks);
    unsigned before = threads();
    for (int i = 0; i < 31; i++) {
        pressure_grow(M);
        watchdog_thread_poke();
    }
    cr_expect(eq(uint, threads(), before));
    cr_expect(eq(int, stats().thread, 0));
    for (int i = 0; i < 64; i++) {
        pressure_grow(M);
        watchdog_thread_poke();
    }
    SOON(stats().thread);
    cr_expect(eq(uint, threads(), before + 1));
}

// Nothing may follow it.
Test(watchdog_thread, a_single_request_counts_before_its_pages_are_taken)
{
    options = pressure_defaults;
    watchdog_thread_init(&options, &hooks);
    pressure_ask(31 * M);
    watchdog_thread_poke();
    usleep(50000);
    cr_expect(eq(int, stats().thread, 0));
    pressure_ask(33 * M);
    watchdog_thread_poke();
    SOON(stats().thread);
}

// The line of /proc/self/task/TID/status that starts with `key`, of the thread named tidepool.
static bool status_of_thread(const char *key, char *out, size_t size)
{
    char path[300], line[256];
    bool named = false, found = false;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d)) && !(named && found);) {
        named = found = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof line, f)) {
            named |= strcmp(line, "Name:\ttidepool\n") == 0;
            if (strncmp(line, key, strlen(key)) == 0) {
                snprintf(out, size, "%.*s", (int)size - 1, line + strlen(key));
                found = true;
            }
        }
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return named && found;
}

Test(watchdog_thread, the_thread_is_named_blocks_signals_and_takes_no_low_descriptor)
{
    char blocked[64];
    options = pressure_defaults;
    watchdog_thread_init(&options, &hooks);
    int lowest = dup(2);
    close(lowest);
    pressure_grow(64 * M);
    watchdog_thread_poke();
    SOON(atomic_load(&ticks) > 0);
    cr_assert(eq(int, status_of_thread("SigBlk:\t", blocked, sizeof blocked), 1));
    // All but KILL, STOP and the two that glibc keeps for itself.
    cr_expect(eq(int, strncmp(blocked, "fffffffe7ffbfeff", 16), 0));
    int now = dup(2);
    cr_expect(eq(int, now, lowest));
}

Test(watchdog_thread, growth_reclaims_before_it_passes_the_limit)
{
    limit_to(100 * M);
    options.thread = false;
    watchdog_thread_init(&options, &hooks);
    for (int i = 0; i < 88; i++) {
        pressure_grow(M);
        touch_new(M);
    }
    cr_expect(gt(uint, atomic_load(&reclaims), 0));
    cr_expect(le(ulong, atomic_load(&kept), 30 * M));
    cr_expect(eq(int, (int)pressure_level() >= PRESSURE_HIGH, 1));
    cr_expect(eq(uint, atomic_load(&deepest), 0), "what a reclaim takes is not looked at");
    cr_expect(eq(ulong, stats().reclaims[PRESSURE_CAUSE_ASSIST], atomic_load(&reclaims)));
}

Test(watchdog_thread, growth_leaves_errno_alone)
{
    limit_to(20 * M);
    watchdog_thread_init(&options, &hooks);
    touch_new(19 * M);
    errno = EDOM;
    pressure_grow(64 * M);
    pressure_shrink(64 * M);
    watchdog_thread_poke();
    pressure_reclaim(0, PRESSURE_CAUSE_API);
    cr_expect(eq(int, errno, EDOM));
    cr_expect(gt(uint, atomic_load(&reclaims), 1));
}

Test(watchdog_thread, levels_are_reported_by_the_thread)
{
    limit_to(100 * M);
    options.interval_ms = 20;
    watchdog_thread_init(&options, &hooks);
    pressure_grow(40 * M);
    watchdog_thread_poke();
    SOON(stats().thread);
    cr_expect(eq(int, atomic_load(&level_seen), PRESSURE_NORMAL));
    touch_new(95 * M);
    SOON(atomic_load(&level_seen) == PRESSURE_CRITICAL);
    cr_expect(gt(ulong, stats().transitions[PRESSURE_CRITICAL], 0));
}

Test(watchdog_thread, requests_past_the_limit_are_refused_only_if_asked)
{
    limit_to(64 * M);
    watchdog_thread_init(&options, &hooks);
    cr_expect(eq(int, promise_is_on, 0));
    options.on_limit = PRESSURE_ON_LIMIT_ENOMEM;
    watchdog_thread_init(&options, &hooks);
    cr_expect(eq(int, promise_begin(512 * M), 0));
    cr_expect(eq(int, promise_begin(16 * M), 1));
    promise_keep(16 * M);
    cr_expect(eq(ulong, stats().refused, 1));
    options.on_limit_min_bytes = M;
    cr_expect(eq(int, promise_begin(M / 2), 1), "small ones never");
}

// What other threads do while they lack a processor: a hook that sleeps.
static _Atomic bool counts_slowly, reclaims_slowly;
static char *given_back;

static uint64_t returned_slowly(void)
{
    if (atomic_exchange(&counts_slowly, false))
        usleep(300000);
    return 0;
}

static size_t reclaim_slowly(uint64_t keep, enum pressure_cause cause)
{
    (void)keep, (void)cause;
    if (!atomic_exchange(&reclaims_slowly, false))
        return 0;
    usleep(300000);
    munmap(given_back, 64 * M);
    return 64 * M;
}

static uint64_t nothing_held(void)
{
    return 0;
}

static const struct pressure_hooks slow_hooks = {
    .reclaim = reclaim_slowly, .held = nothing_held, .returned = returned_slowly};

static void fill_limit(void)
{
    limit_to(96 * M);
    options.on_limit = PRESSURE_ON_LIMIT_ENOMEM;
    options.thread = false;
    watchdog_thread_init(&options, &slow_hooks);
    given_back = mmap(NULL, 64 * M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(ne(ptr, given_back, MAP_FAILED));
    memset(given_back, 1, 64 * M);
    cr_assert(eq(int, promise_begin(48 * M), 0));
}

static void *evaluates(void *unused)
{
    evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 0);
    return unused;
}

static void *reclaims_all(void *unused)
{
    pressure_reclaim(0, PRESSURE_CAUSE_API);
    return unused;
}

Test(watchdog_thread, a_request_waits_for_an_evaluation_that_lacks_a_processor)
{
    pthread_t other;
    fill_limit();
    atomic_store(&counts_slowly, true);
    cr_assert(eq(int, pthread_create(&other, NULL, evaluates, NULL), 0));
    SOON(!atomic_load(&counts_slowly));
    munmap(given_back, 64 * M);
    cr_expect(eq(int, promise_begin(48 * M), 1));
    pthread_join(other, NULL);
}

Test(watchdog_thread, a_request_waits_for_a_reclaim_that_lacks_a_processor)
{
    pthread_t other;
    fill_limit();
    atomic_store(&reclaims_slowly, true);
    cr_assert(eq(int, pthread_create(&other, NULL, reclaims_all, NULL), 0));
    SOON(!atomic_load(&reclaims_slowly));
    cr_expect(eq(int, promise_begin(48 * M), 1));
    pthread_join(other, NULL);
}

// The request is refused, or its pages are never touched: growth does not tell.
Test(watchdog_thread, a_ceiling_made_for_one_request_is_lifted_again)
{
    limit_to(100 * M);
    watchdog_thread_init(&options, &hooks);
    pressure_ask(95 * M);
    cr_expect(ne(ulong, pressure_keep_bytes(), PRESSURE_UNLIMITED));
    watchdog_thread_poke();
    SOON(pressure_keep_bytes() == PRESSURE_UNLIMITED);
    cr_expect(eq(int, stats().thread, 1));
}

Test(watchdog_thread, a_request_larger_than_the_limit_leaves_no_ceiling)
{
    limit_to(100 * M);
    watchdog_thread_init(&options, &hooks);
    // No address space holds the first; the limit is not known when the second comes.
    pressure_ask((size_t)1 << 60);
    cr_expect(eq(ulong, stats().evaluations, 0));
    uint64_t began = clock_now_ms();
    for (int i = 0; i < 1000; i++)
        pressure_ask((size_t)1 << 46);
    uint64_t took_ms = clock_now_ms() - began;
    cr_expect(ge(ulong, stats().evaluations, 1));
    // An evaluation is old after 2 ms. The loop takes as long only where it loses its processor.
    cr_expect(le(ulong, stats().evaluations, 1 + took_ms / 2), "one is enough");
    cr_expect(eq(ulong, pressure_keep_bytes(), PRESSURE_UNLIMITED));
    cr_expect(eq(uint, atomic_load(&reclaims), 0));
}

// The pools are sized by it.
Test(watchdog_thread, a_limit_that_moves_is_told)
{
    limit_to(1024 * M);
    options.thread = false;
    watchdog_thread_init(&options, &hooks);
    pressure_grow(64 * M);
    cr_expect(eq(ulong, atomic_load(&ceiling_limit), options.limit_bytes));
    options.limit_bytes -= 512 * M;
    pressure_grow(64 * M);
    cr_expect(eq(ulong, atomic_load(&ceiling_limit), options.limit_bytes));
    cr_expect(eq(ulong, atomic_load(&ceiling), PRESSURE_UNLIMITED));
}

// In a child; its status.
static int in_child(int (*body)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        watchdog_thread_child();
        _exit(body());
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static int has_a_ceiling(void)
{
    return atomic_load(&ceiling) != PRESSURE_UNLIMITED ||
           pressure_keep_bytes() != PRESSURE_UNLIMITED;
}

Test(watchdog_thread, a_child_begins_without_its_parents_ceiling)
{
    limit_to(100 * M);
    options.thread = false;
    watchdog_thread_init(&options, &hooks);
    pressure_ask(95 * M);
    cr_expect(eq(int, has_a_ceiling(), 1));
    cr_expect(eq(int, in_child(has_a_ceiling), 0));
}

static void allow_threads(bool allow)
{
    struct rlimit l;
    cr_assert(eq(int, getrlimit(RLIMIT_NPROC, &l), 0));
    l.rlim_cur = allow ? l.rlim_max : 0;
    cr_assert(eq(int, setrlimit(RLIMIT_NPROC, &l), 0));
}

static int gets_a_thread(void)
{
    pressure_grow(64 * M);
    watchdog_thread_poke();
    for (int ms = 0; ms < PATIENCE_MS && !stats().thread; ms++)
        usleep(1000);
    return !stats().thread;
}

Test(watchdog_thread, a_thread_that_cannot_be_had_is_tried_again_in_a_child_only)
{
    options = pressure_defaults;
    watchdog_thread_init(&options, &hooks);
    // Root may have as many as it likes. Not setuid(), which tells every thread.
    allow_threads(false);
    if (geteuid() == 0)
        cr_assert(eq(int, (int)syscall(SYS_setresuid, 65534, 65534, 65534), 0));
    pressure_grow(64 * M);
    watchdog_thread_poke();
    cr_expect(eq(int, stats().thread, 0));
    allow_threads(true);
    pressure_grow(512 * M);
    watchdog_thread_poke();
    usleep(20000);
    cr_expect(eq(int, stats().thread, 0));
    cr_expect(eq(int, in_child(gets_a_thread), 0));
}

Test(watchdog_thread, stopping_is_quick_and_final)
{
    options = pressure_defaults;
    watchdog_thread_init(&options, &hooks);
    unsigned alone = threads();
    pressure_grow(64 * M);
    watchdog_thread_poke();
    SOON(atomic_load(&ticks) > 0);
    watchdog_thread_stop();
    unsigned before = atomic_load(&ticks);
    watchdog_thread_end();
    cr_expect(eq(uint, threads(), alone));
    cr_expect(eq(uint, atomic_load(&ticks), before));
    pressure_grow(1024 * M);
    watchdog_thread_poke();
    SOON(!stats().thread);
}

Test(watchdog_thread, wakes_without_end_lead_to_a_look_in_20_ms_and_no_more)
{
    options = pressure_defaults;
    options.accelerators = false; // beside which wakes are heard in slices
    watchdog_thread_init(&options, &hooks);
    pressure_grow(64 * M);
    watchdog_thread_poke();
    SOON(atomic_load(&ticks) > 0);
    uint64_t before = stats().evaluations, start = clock_now_ms(), now;
    while ((now = clock_now_ms()) < start + 400) {
        watchdog_thread_wake();
        usleep(100);
    }
    cr_expect(le(ulong, stats().evaluations - before, (now - start) / 20 + 2));
    cr_expect(gt(ulong, stats().evaluations - before, 0));
}

static uint64_t ticked_after(uint64_t start)
{
    SOON(atomic_load(&ticks) > 0);
    return clock_now_ms() - start;
}

Test(watchdog_thread, what_has_time_lets_the_thread_rest_first)
{
    uint64_t start = clock_now_ms();

    options = pressure_defaults;
    watchdog_thread_init(&options, &hooks);
    watchdog_thread_want_later();
    watchdog_thread_poke();
    cr_expect(ge(ulong, ticked_after(start), 100));
    cr_expect(eq(int, stats().thread, 1));
}

static int starts_alone(void)
{
    bool alone = threads() == 1 && !stats().thread && stats().evaluations == 0;
    pressure_grow(8 * M);
    watchdog_thread_poke();
    alone &= threads() == 1;
    return alone ? gets_a_thread() : 2;
}

// A FIFO without a writer stands for a kernel that takes its time to open a trigger.
Test(watchdog_thread, whoever_grows_looks_while_the_thread_opens_its_accelerators)
{
    char tree[] = "/tmp/tidepool.XXXXXX", root[64], events[128], command[128];
    cr_assert(ne(ptr, mkdtemp(tree), NULL));
    snprintf(root, sizeof root, "%s/v2-container", tree);
    snprintf(events, sizeof events, "%s/sys/fs/cgroup/memory.events", root);
    snprintf(command, sizeof command, "cp -r tests/fixtures/cgroup/v2-container %s", tree);
    cr_assert(eq(int, system(command), 0));
    cr_assert(eq(int, unlink(events), 0));
    cr_assert(eq(int, mkfifo(events, 0600), 0));
    options = pressure_defaults;
    options.root = root;
    watchdog_thread_init(&options, &hooks);
    pressure_grow(64 * M);
    watchdog_thread_poke();
    SOON(stats().thread);
    usleep(100000);
    cr_expect(eq(uint, stats().accelerators, 0));
    cr_expect(eq(int, evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 0), 1));
    int fd = open(events, O_WRONLY | O_NONBLOCK);
    cr_assert(ge(int, fd, 0));
    SOON(stats().accelerators > 0);
    close(fd);
    snprintf(command, sizeof command, "rm -r %s", tree);
    cr_expect(eq(int, system(command), 0));
}

Test(watchdog_thread, a_child_starts_its_own_once_it_has_grown)
{
    options = pressure_defaults;
    watchdog_thread_init(&options, &hooks);
    pressure_grow(64 * M);
    watchdog_thread_poke();
    SOON(stats().thread);
    cr_expect(eq(int, in_child(starts_alone), 0));
    cr_expect(eq(int, stats().thread, 1));
}
