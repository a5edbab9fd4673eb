// A thread that grows while another one evaluates. The other is held up in a hook for as long as
// the test wants; the limit is one of our own, 100 MiB above what the process has.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "pressure/direct_reclaim.h"
#include "pressure/stats_snapshot.h"
#include "pressure/usage/proc.h"
#include "pressure/watchdog_thread.h"
#include "shim/clock.h"
#include "tests/unit/pressure_grow.h"

#define M ((size_t)1 << 20)

static struct pressure_options options;
static _Atomic bool hold_up, inside;
static pthread_t other;

static uint64_t held(void)
{
    atomic_store(&inside, atomic_load(&hold_up));
    while (atomic_load(&hold_up))
        usleep(1000);
    return 0;
}

static const struct pressure_hooks hooks = {.held = held};

static void *look(void *arg)
{
    (void)arg;
    evaluate_run(PRESSURE_CAUSE_WATCHDOG, 0, 1000);
    return NULL;
}

static void begin(void)
{
    struct proc_rss rss;
    cr_assert(eq(int, proc_read_rss("", &rss), 0));
    options = pressure_defaults;
    options.source = PRESSURE_USAGE_RSS;
    options.limit_bytes = rss.anon_bytes + 100 * M;
    options.thread = false;
    watchdog_thread_init(&options, &hooks);
    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    atomic_store(&hold_up, true);
    cr_assert(eq(int, pthread_create(&other, NULL, look, NULL), 0));
    while (!atomic_load(&inside))
        usleep(1000);
}

static void end(void)
{
    atomic_store(&hold_up, false);
    pthread_join(other, NULL);
}

TestSuite(direct_reclaim, .init = begin, .timeout = 60);

// How long that takes, at best, while the other is looking.
static uint64_t grow_ms(size_t bytes, int times)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < times; i++) {
        uint64_t start = clock_now_ms();
        pressure_grow(bytes);
        uint64_t took = clock_now_ms() - start;
        least = took < least ? took : least;
    }
    return least;
}

Test(direct_reclaim, growth_goes_on_while_there_is_room)
{
    // 20 MiB: an evaluation is due, but the rest and 2 MiB are more than half of what there was.
    pressure_grow(18 * M);
    cr_expect(lt(ulong, grow_ms(M / 8, 16), 50));
    end();
}

Test(direct_reclaim, growth_waits_for_the_look_of_another_when_room_is_short)
{
    // 60 MiB of 100: it waits for 50 ms, and then goes on.
    cr_expect(ge(ulong, grow_ms(60 * M, 1), 50));
    end();
}

Test(direct_reclaim, a_look_waits_where_it_is_told_to)
{
    cr_expect(eq(int, evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 0), 0));
    cr_expect(eq(int, evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 5), 0));
    atomic_store(&hold_up, false);
    cr_expect(eq(int, evaluate_run(PRESSURE_CAUSE_ASSIST, 0, 10000), 1));
    end();
}

// Looks while so much is handed out again, with `room_bytes` beside 100 MiB that are live.
static uint64_t looks_while_reused(size_t room_bytes, size_t bytes)
{
    static char live[100 * M];
    struct pressure_stats before, after;
    struct proc_rss rss;

    memset(live, 1, sizeof live);
    cr_assert(eq(int, proc_read_rss("", &rss), 0));
    options = pressure_defaults;
    options.source = PRESSURE_USAGE_RSS;
    options.limit_bytes = rss.anon_bytes + room_bytes;
    options.thread = false;
    watchdog_thread_init(&options, &hooks);
    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    pressure_stats(&before);
    for (size_t done = 0; done < bytes; done += M / 8)
        pressure_reuse(M / 8);
    pressure_stats(&after);
    return after.evaluations - before.evaluations;
}

// There pages may be missing in what lies free.
Test(direct_reuse, is_looked_after_where_blocks_are_trimmed)
{
    uint64_t looks = looks_while_reused(4 * M, 32 * M);
    cr_expect(ge(ulong, looks, 16), "each 2 MiB at the latest");
    cr_expect(le(ulong, looks, 32));
}

Test(direct_reuse, costs_no_look_elsewhere)
{
    cr_expect(eq(ulong, looks_while_reused(20 * M, 1024 * M), 0));
}

// The room that an evaluation found may be gone: a limit was set, or the process was moved. An old
// look is followed by the next after a MiB of growth, however much room there was.
Test(direct_age, an_old_look_holds_for_one_more_mib)
{
    struct pressure_stats before, after;

    options = pressure_defaults;
    options.source = PRESSURE_USAGE_RSS;
    options.limit_bytes = (uint64_t)1 << 40;
    options.thread = false;
    watchdog_thread_init(&options, &hooks);
    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    pressure_stats(&before);
    usleep(20000);
    for (int i = 0; i < 9; i++)
        pressure_grow(M / 8);
    pressure_stats(&after);
    cr_expect(eq(ulong, after.evaluations - before.evaluations, 1));
}

// A process of `percent` of its limit that holds 2 MiB, and notes what it is told.
static uint64_t told_limit, reclaims, told_keep;

static uint64_t two_mib(void)
{
    return 2 * M;
}

static size_t note_reclaim(uint64_t keep_bytes, enum pressure_cause cause)
{
    (void)cause;
    told_keep = keep_bytes;
    reclaims++;
    return 2 * M;
}

static void note_keep(uint64_t keep_bytes, uint64_t limit_bytes)
{
    (void)keep_bytes;
    told_limit = limit_bytes;
}

static const struct pressure_hooks noting = {
    .held = two_mib, .reclaim = note_reclaim, .set_keep = note_keep};

static void use_percent(unsigned percent)
{
    static char live[100 * M];
    struct proc_rss rss;

    memset(live, 1, sizeof live);
    cr_assert(eq(int, proc_read_rss("", &rss), 0));
    options = pressure_defaults;
    options.source = PRESSURE_USAGE_RSS;
    options.limit_bytes = rss.anon_bytes * 100 / percent;
    options.thread = false;
    watchdog_thread_init(&options, &noting);
}

static uint64_t looks(void)
{
    struct pressure_stats now;

    pressure_stats(&now);
    return now.evaluations;
}

// It may never take a page from the kernel that it has not had before.
Test(direct_fork, a_child_that_lives_on_what_it_inherited_looks)
{
    use_percent(50);
    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    evaluate_child();
    cr_expect(eq(ulong, looks(), 0));
    pressure_reuse(4 * M);
    cr_expect(eq(ulong, looks(), 1));
    evaluate_child();
    pressure_shrink(4 * M);
    cr_expect(eq(ulong, looks(), 1));
}

static uint64_t shared(void)
{
    struct pressure_stats now;

    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    pressure_stats(&now);
    return now.sample.shared_bytes;
}

Test(direct_fork, what_a_child_took_itself_it_does_not_share)
{
    use_percent(50);
    cr_expect(eq(ulong, shared(), 0), "it is no child");
    evaluate_child();
    cr_expect(eq(ulong, shared(), 2 * M));
    pressure_grow(M);
    cr_expect(eq(ulong, shared(), M));
    pressure_grow(2 * M);
    cr_expect(eq(ulong, shared(), 0));
}

Test(direct_fork, a_child_has_the_limit_of_its_parent)
{
    use_percent(50);
    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    told_limit = 0;
    evaluate_child();
    cr_expect(eq(ulong, told_limit, options.limit_bytes));
}

Test(direct_fork, free_memory_goes_back_before_a_fork_where_it_may_be_missed)
{
    use_percent(50);
    evaluate_before_fork();
    cr_expect(eq(ulong, looks(), 0), "nothing is known yet, and nothing asked");
    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    evaluate_before_fork();
    cr_expect(eq(ulong, reclaims, 0), "memory is plenty");
    use_percent(68);
    evaluate_before_fork();
    cr_expect(eq(ulong, reclaims, 1));
    cr_expect(eq(ulong, told_keep, 0));
}

static size_t held_up(uint64_t keep_bytes, enum pressure_cause cause)
{
    (void)keep_bytes;
    (void)cause;
    atomic_store(&inside, true);
    while (atomic_load(&hold_up))
        usleep(1000);
    return 0;
}

static void *give_back(void *arg)
{
    (void)arg;
    pressure_reclaim(0, PRESSURE_CAUSE_API);
    return NULL;
}

static uint64_t evaluate_ms(void)
{
    uint64_t start = clock_now_ms();

    evaluate_run(PRESSURE_CAUSE_ASSIST, M, 0);
    return clock_now_ms() - start;
}

// Near the end each thread waits for the reclaim of another. Where that one is stopped it is waited
// for once, not at each request.
Test(direct_other, a_reclaim_that_never_ends_is_waited_for_a_second_once)
{
    static const struct pressure_hooks stopping = {.held = two_mib, .reclaim = held_up};
    uint64_t least = UINT64_MAX;

    use_percent(50);
    evaluate_run(PRESSURE_CAUSE_API, 0, 0);
    options.limit_bytes /= 2;
    watchdog_thread_init(&options, &stopping);
    atomic_store(&hold_up, true);
    cr_assert(eq(int, pthread_create(&other, NULL, give_back, NULL), 0));
    while (!atomic_load(&inside))
        usleep(1000);
    cr_expect(ge(ulong, evaluate_ms(), 1000));
    for (int i = 0; i < 3; i++) {
        uint64_t took = evaluate_ms();
        least = took < least ? took : least;
    }
    cr_expect(ge(ulong, least, 100));
    cr_expect(lt(ulong, least, 1000));
    end();
}
