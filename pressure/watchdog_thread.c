#include "pressure/watchdog_thread.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pressure/direct_reclaim.h"
#include "pressure/kernel/futex_lock.h"
#include "pressure/kernel/private_fd.h"
#include "pressure/kernel/text.h"
#include "pressure/promise.h"
#include "pressure/stats_snapshot.h"
#include "pressure/triggers/psi.h"
#include "shim/clock.h"
#include "shim/kernel.h"
#include "shim/thread.h"

// Hooks run on it: writing text files, dlopen of an unwinder. Untouched pages cost nothing.
#define STACK_BYTES (256 * 1024)
#define SPARE_BYTES (64 * 1024)
// In poll nothing but a descriptor wakes us, so it is slept in slices, short ones while the program
// grows or frees.
#define QUIET_SLICE_MS 250
#define BUSY_SLICE_MS 50
// Our own growth and frees wake us no faster than this.
#define WAKE_GAP_MS 20
// Events lead to evaluations no faster than this; each that changes no level doubles it.
#define EVENT_GAP_MS 5
#define MAX_EVENT_GAP_MS 500
#define FIRST_REST_MS 100
// A caller that never stops is served once in this time.
#define SERVE_GAP_MS 10

// What the thread is at. Hooks run in RUNNING only, so stopping it elsewhere needs no wait.
// LEAVING: it is to end, and another one may start later.
enum { NONE, SLEEPING, RUNNING, LEAVING, STOPPED };
static _Atomic uint32_t phase;
static _Atomic uint32_t woken;          // EVALUATE or REPLAN, set by other threads
static _Atomic uint64_t sleeping_until; // in clock_now_ms
enum { EVALUATE = 1, REPLAN = 2 };
static _Atomic uint32_t claimed; // a thread is starting it, or has
static _Atomic uint32_t ended;
static struct futex_lock at_work; // its holder runs hooks, or keeps the thread from it
static struct thread_slot slot;
static _Atomic bool put_off; // it is to start again once it may
static _Atomic bool banned;  // none is to start in this process any more
static bool failed_before;
static pid_t process; // whose memory this is: a child by vfork or CLONE_VM only borrows it

_Atomic bool watchdog_thread_wanted;
static _Atomic bool patient; // only watchdog_thread_want_later() asked for it yet

static struct psi_source accel;

#define WAKE_SIGNAL SIGURG
#define FEW_FILES 64
static int wake_fd = -1; // the thread's own; -1: none
static _Atomic bool interruptible;

// A descriptor of wait_on() is ready; and until then none is polled.
static bool called;
static uint64_t deaf_until_ms;

static bool change_phase(uint32_t from, uint32_t to)
{
    bool ok = atomic_compare_exchange_strong(&phase, &from, to);
    kernel_futex_wake(&phase, INT32_MAX);
    return ok;
}

void watchdog_thread_at_load(void)
{
    if (!process)
        process = getpid();
}

bool watchdog_thread_owns_memory(void)
{
    return getpid() == process;
}

static void wake(uint32_t why)
{
    atomic_fetch_or(&woken, why);
    kernel_futex_wake(&woken, INT32_MAX);
}

void watchdog_thread_wake(void)
{
    wake(EVALUATE);
}

// The next evaluation is due in `ms`: sooner, perhaps, than the thread knows.
static void hasten(unsigned ms)
{
    if (atomic_load(&phase) == SLEEPING &&
        clock_now_ms() + ms + 5 < atomic_load_explicit(&sleeping_until, memory_order_relaxed))
        wake(REPLAN);
}

// In poll the thread hears no futex, and the program may not wait for the end of a slice where it
// wants the thread to end. So a signal to the thread, which blocks all, makes a descriptor
// readable. It is never read: it would give the program's own signals, too. SIGURG, because it does
// nothing by default. Only where the thread has a table of descriptors of its own: the program
// could not close this one by mistake.
static void listen_for_interrupts(void)
{
    struct rlimit files;
    sigset_t urgent;
    // Where descriptors are few, the files to be written need them.
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < FEW_FILES)
        return;
    sigemptyset(&urgent);
    sigaddset(&urgent, WAKE_SIGNAL);
    wake_fd = signalfd(-1, &urgent, SFD_CLOEXEC | SFD_NONBLOCK);
    if (wake_fd >= 0)
        wake_fd = private_fd_move(wake_fd);
    atomic_store(&interruptible, wake_fd >= 0);
}

static void stop_listening(void)
{
    atomic_store(&interruptible, false);
    if (wake_fd >= 0)
        kernel_close(wake_fd);
    wake_fd = -1;
}

static void interrupt_poll(void)
{
    if (atomic_load(&interruptible))
        syscall(SYS_tgkill, getpid(), atomic_load(&slot.id), WAKE_SIGNAL);
}

static unsigned min_ms(uint64_t a, uint64_t b)
{
    return (unsigned)(a < b ? a : b);
}

// Why an evaluation is due before its time.
enum why { NOTHING, WAKE, EVENT };

// Sleeps for that time, or until another thread wakes this one.
static enum why nap(uint64_t ms)
{
    kernel_futex_wait(&woken, 0, (uint64_t)((unsigned)ms) * 1000000);
    return atomic_exchange(&woken, 0) & EVALUATE ? WAKE : NOTHING;
}

static unsigned fill_callers(struct pollfd *fds, uint64_t now)
{
    const struct pressure_hooks *h = evaluate_hooks();
    return h->wait_on ? h->wait_on(fds, now) : 0;
}

static bool any_ready(const struct pollfd *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (fds[i].revents)
            return true;
    return false;
}

// One slice of sleep.
static enum why sleep_slice(uint64_t ms, unsigned slice_ms)
{
    struct pollfd fds[PSI_KINDS + PRESSURE_WAIT_FDS + 1];
    enum psi_kind which[PSI_KINDS];
    uint64_t now = clock_now_ms();
    if (now < deaf_until_ms)
        return nap(min_ms(ms, deaf_until_ms - now));
    unsigned n = psi_fill(&accel, fds, which, now), callers = fill_callers(fds + n, now);
    if (!n) {
        // A wake-up is seen at once, a ready descriptor after a slice.
        enum why why = nap(callers ? min_ms(ms, QUIET_SLICE_MS) : ms);
        called = callers && poll(fds, callers, 0) > 0;
        return why;
    }
    fds[n + callers] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
    int ready = poll(fds, n + callers + (wake_fd >= 0), (int)min_ms(ms, slice_ms));
    now = clock_now_ms();
    enum why why = atomic_exchange(&woken, 0) & EVALUATE ? WAKE : NOTHING;
    for (unsigned i = 0; ready > 0 && i < n; i++)
        if (fds[i].revents && psi_event(&accel, which[i], fds[i].revents, now))
            why = EVENT;
    called = ready > 0 && any_ready(fds + n, callers);
    // One for the whole process, which all its threads block: it would be there each time.
    if (wake_fd >= 0 && ready > 0 && fds[n + callers].revents && atomic_load(&phase) == SLEEPING)
        stop_listening();
    return why;
}

// When the next evaluation is due. Evaluations by growing threads say how much time may go by, too.
static uint64_t plan(uint64_t evaluate_at, uint64_t evaluated)
{
    if (!evaluate_options()->evaluates)
        return evaluate_at;
    uint64_t planned = evaluated + evaluate_next_ms();
    return planned < evaluate_at ? planned : evaluate_at;
}

// Until the next evaluation or tick is due, a descriptor is ready, or an event asks for an
// evaluation.
static enum why sleep_until(uint64_t *evaluate_at, uint64_t tick_at, uint64_t evaluated)
{
    uint64_t moved = direct_moved();
    unsigned slice = BUSY_SLICE_MS;
    while (atomic_load(&phase) == SLEEPING && !called) {
        uint64_t now = clock_now_ms(), was = moved;
        *evaluate_at = plan(*evaluate_at, evaluated);
        uint64_t due = *evaluate_at < tick_at ? *evaluate_at : tick_at;
        if (now >= due)
            return NOTHING;
        atomic_store_explicit(&sleeping_until, due, memory_order_relaxed);
        enum why why = sleep_slice(due - now, slice);
        if (why)
            return why;
        moved = direct_moved();
        slice = moved != was ? BUSY_SLICE_MS : QUIET_SLICE_MS;
    }
    return NOTHING;
}

static bool report_level(const struct pressure_hooks *h)
{
    enum pressure_level from, to;
    struct pressure_sample s;
    if (!evaluate_level_changed(&from, &to, &s))
        return false;
    if (h->on_level)
        h->on_level(from, to, &s);
    return true;
}

static const char *listens(enum psi_kind kind)
{
    const struct psi_accel *a = &accel.accel[kind];
    return a->open ? "on" : a->error == ENOENT ? "none" : "refused";
}

// Once; in a child not again. What the user named, and cannot be listened to, is said to all.
static void say_accelerators(void)
{
    static bool said;
    const struct pressure_hooks *h = evaluate_hooks();
    const struct psi_accel *named = &accel.accel[PSI_SYSTEMD];
    if (said || !h->log)
        return;
    said = true;
    if (psi_is_named(evaluate_options()) && !named->open && named->error)
        h->log(PRESSURE_LOG_SOURCE, "%s cannot be listened to: %s", psi_names[PSI_SYSTEMD],
               strerrordesc_np(named->error));
    h->log(PRESSURE_LOG_FOUND, "events that ask for an evaluation: %s %s, %s %s, %s %s",
           psi_names[0], listens(0), psi_names[1], listens(1), psi_names[2], listens(2));
}

static void arm(uint64_t now)
{
    static struct psi_place place; // 8 KiB, rarely touched
    if (evaluate_options()->accelerators && psi_wants(&accel, now) && evaluate_place(&place)) {
        snapshot_thread(true, psi_arm(&accel, evaluate_options(), &place, now));
        say_accelerators();
    }
}

static void serve(const struct pressure_hooks *h)
{
    if (!called)
        return;
    called = false;
    h->serve(clock_now_ms());
    deaf_until_ms = clock_now_ms() + SERVE_GAP_MS;
}

// What comes meanwhile waits; `or_evaluate`: unless an evaluation is asked for.
static void rest_until(uint64_t ms, bool or_evaluate)
{
    uint64_t now;
    while ((now = clock_now_ms()) < ms && atomic_load(&phase) == SLEEPING) {
        uint32_t seen = atomic_load(&woken);
        if (or_evaluate && (seen & EVALUATE))
            return;
        kernel_futex_wait(&woken, seen, (uint64_t)((unsigned)(ms - now)) * 1000000);
    }
}

// Events that lead to nothing come no faster than twice a second. But the first in a while counts
// at once, and none is held back beyond the next evaluation.
static void hold_back_event(unsigned *gap_ms, uint64_t evaluate_at)
{
    static uint64_t last;
    uint64_t until = last + *gap_ms;
    if (clock_now_ms() >= last + 2 * MAX_EVENT_GAP_MS)
        *gap_ms = EVENT_GAP_MS;
    rest_until(until < evaluate_at ? until : evaluate_at, true);
    last = clock_now_ms();
}

// A program that is stopped in the middle of making a child is not waited for.
static void begin_work(void)
{
    while (!futex_lock_take(&at_work, 1000))
        ;
}

static void *run(void *unused)
{
    (void)unused;
    const struct pressure_hooks *h = evaluate_hooks();
    unsigned late_ms = evaluate_options()->interval_ms / 2, gap_ms = EVENT_GAP_MS;
    uint64_t evaluated = atomic_load(&patient) ? clock_now_ms() : 0;
    uint64_t tick_at = evaluated ? evaluated + FIRST_REST_MS : 0;
    uint64_t evaluate_at = evaluate_options()->evaluates ? tick_at : UINT64_MAX;
    enum why why = NOTHING;

    thread_runs(&slot);
    prctl(PR_SET_NAME, "tidepool");
    // What h->begin() does is in vain where the program ends meanwhile.
    rest_until(tick_at, true);
    begin_work();
    if (h->begin && h->begin())
        listen_for_interrupts();
    snapshot_thread(true, 0);
    while (change_phase(SLEEPING, RUNNING)) {
        uint64_t now = clock_now_ms();
        if (why || now >= evaluate_at) {
            if (evaluate_at && now > evaluate_at + late_ms)
                snapshot_late();
            evaluate_run(PRESSURE_CAUSE_WATCHDOG, 0, 1000);
            evaluated = clock_now_ms();
            if (report_level(h))
                gap_ms = EVENT_GAP_MS;
            else if (why == EVENT && gap_ms < MAX_EVENT_GAP_MS)
                gap_ms *= 2;
            evaluate_at = evaluated + evaluate_next_ms();
            arm(evaluated);
        }
        if (now >= tick_at) {
            tick_at = now + evaluate_options()->tick_ms;
            if (h->tick)
                h->tick(now);
            // Free memory that piled up without passing through pages: see it, and watch it.
            if (evaluate_options()->evaluates && evaluate_hoards())
                evaluate_at = now;
        }
        serve(h);
        if (!change_phase(RUNNING, SLEEPING))
            break;
        futex_lock_drop(&at_work);
        why = sleep_until(&evaluate_at, tick_at, evaluated);
        if (!evaluate_options()->evaluates)
            why = NOTHING;
        if (why == EVENT)
            hold_back_event(&gap_ms, evaluate_at);
        if (why == WAKE || (why == EVENT && atomic_load(&woken) & EVALUATE))
            rest_until(plan(evaluated + WAKE_GAP_MS, evaluated), false);
        begin_work();
    }
    stop_listening();
    psi_close(&accel);
    snapshot_thread(false, 0);
    called = false;
    futex_lock_drop(&at_work);
    atomic_store(&ended, 1);
    kernel_futex_wake(&ended, INT32_MAX);
    return NULL;
}

void watchdog_thread_want_later(void)
{
    if (!evaluate_options() || atomic_load_explicit(&claimed, memory_order_relaxed) ||
        atomic_load_explicit(&watchdog_thread_wanted, memory_order_relaxed))
        return;
    atomic_store_explicit(&patient, true, memory_order_relaxed);
    atomic_store_explicit(&watchdog_thread_wanted, true, memory_order_relaxed);
}

void watchdog_thread_want(void)
{
    if (!evaluate_options())
        return;
    if (atomic_load_explicit(&patient, memory_order_relaxed)) {
        atomic_store_explicit(&patient, false, memory_order_relaxed);
        watchdog_thread_wake();
    }
    if (!atomic_load_explicit(&claimed, memory_order_relaxed))
        atomic_store_explicit(&watchdog_thread_wanted, true, memory_order_relaxed);
}

// At the end of an evaluation, by any thread.
static void on_step(const struct pressure_action *a, const struct pressure_sample *s)
{
    promise_evaluated(s);
    hasten(a->next_evaluation_ms);

    // A thread is worth having once what we could give back is worth having: in a small container
    // that is little. Or when a ceiling has to be lifted again, which growth may never do: it was
    // made for one request, perhaps, and that was refused. A busy machine alone is no reason for
    // `ls` to have one: it never grows enough for a first evaluation.
    const struct pressure_options *o = evaluate_options();
    uint64_t grown = s->grown_bytes + s->pending_bytes;
    uint64_t worth = grown > s->held_bytes ? grown : s->held_bytes;
    if (o->thread && (worth >= o->evaluate_min_bytes || worth >= pressure_near_limit(s) / 8 ||
                      a->keep_bytes != PRESSURE_UNLIMITED))
        watchdog_thread_want();
}

void watchdog_thread_init(const struct pressure_options *o, const struct pressure_hooks *h)
{
    watchdog_thread_at_load();
    direct_wake = watchdog_thread_wake;
    evaluate_on_step = on_step;
    if (o->evaluates)
        promise_init(o);
    evaluate_init(o, h);
}

static void want_again(void)
{
    if (atomic_exchange(&put_off, false))
        atomic_store_explicit(&watchdog_thread_wanted, true, memory_order_relaxed);
}

static void log_failure(int e)
{
    const struct pressure_hooks *h = evaluate_hooks();

    if (h->log && !failed_before)
        h->log(PRESSURE_LOG_THREAD, "no watchdog thread: %s; idle memory is not given back",
               strerrordesc_np(e));
    failed_before = true;
}

static void forget_phase(uint32_t from)
{
    if (from == SLEEPING || from == LEAVING)
        change_phase(from, NONE);
}

// Still with `claimed`, so nothing else starts it meanwhile.
static void not_started(int e)
{
    forget_phase(SLEEPING);
    forget_phase(LEAVING);
    if (!atomic_load(&slot.holds)) {
        // Growing threads still evaluate. Tried again in a child only.
        log_failure(e);
        return;
    }
    atomic_store(&put_off, true);
    atomic_store(&claimed, 0);
    // The last watchdog_thread_resume() may have come before that store.
    if (!atomic_load(&slot.holds))
        want_again();
}

void watchdog_thread_start(void)
{
    int saved = errno;
    if (!evaluate_options() || !watchdog_thread_owns_memory())
        return;
    atomic_store_explicit(&watchdog_thread_wanted, false, memory_order_relaxed);
    if (!atomic_exchange(&claimed, 1) && change_phase(NONE, SLEEPING)) {
        atomic_store(&ended, 0);
        int e = thread_start(&slot, run, NULL, STACK_BYTES, SPARE_BYTES);
        if (e)
            not_started(e);
    }
    errno = saved;
}

void watchdog_thread_child(void)
{
    int saved = errno;
    // The copies keep a cgroup's triggers alive, and would wake no thread.
    psi_close(&accel);
    wake_fd = -1;
    atomic_store(&interruptible, false);
    if (atomic_load(&phase) != STOPPED)
        atomic_store(&phase, NONE);
    atomic_store(&claimed, atomic_load(&banned));
    slot = (struct thread_slot){0};
    atomic_store(&put_off, false);
    atomic_store(&patient, false);
    atomic_store(&woken, 0);
    called = false;
    futex_lock_reset(&at_work);
    process = getpid();
    deaf_until_ms = 0;
    atomic_store_explicit(&watchdog_thread_wanted, false, memory_order_relaxed);
    evaluate_child();
    if (evaluate_options() && evaluate_options()->evaluates)
        promise_init(evaluate_options());
    errno = saved;
}

bool watchdog_thread_hold(unsigned ms)
{
    return futex_lock_take(&at_work, ms);
}

void watchdog_thread_release(void)
{
    futex_lock_drop(&at_work);
}

// A hook may be running, then.
static bool is_busy(uint32_t p)
{
    return p == RUNNING || p == LEAVING;
}

void watchdog_thread_stop(void)
{
    uint32_t was = atomic_load(&phase);
    while (!is_busy(was) && !atomic_compare_exchange_weak(&phase, &was, STOPPED))
        ;
    if (!is_busy(was)) {
        watchdog_thread_wake();
        return;
    }
    // It ends within its own time or ours.
    atomic_store(&phase, STOPPED);
    uint64_t until = clock_now_ms() + 200;
    for (uint64_t now; (now = clock_now_ms()) < until && !atomic_load(&ended);)
        kernel_futex_wait(&ended, 0, (uint64_t)((unsigned)(until - now)) * 1000000);
}

void watchdog_thread_end(void)
{
    int saved = errno;

    watchdog_thread_stop();
    interrupt_poll();
    thread_await_end(&slot, THREAD_AWAIT_MS);
    errno = saved;
}

// Where there was a thread, and it has gone.
static void clear_away(void)
{
    forget_phase(LEAVING);
    atomic_store(&put_off, true);
    atomic_store(&claimed, atomic_load(&banned));
}

bool watchdog_thread_suspend(unsigned ms)
{
    int saved = errno;

    atomic_fetch_add(&slot.holds, 1);
    uint32_t was = atomic_load(&phase);
    while ((was == SLEEPING || was == RUNNING) &&
           !atomic_compare_exchange_weak(&phase, &was, LEAVING))
        ;
    wake(REPLAN);
    interrupt_poll();
    bool there = atomic_load(&slot.there), gone = thread_await_end(&slot, ms);
    // Not created after all: watchdog_thread_start() clears away.
    if (gone && there && atomic_load(&slot.id))
        clear_away();
    errno = saved;
    return gone;
}

void watchdog_thread_ban(void)
{
    evaluate_forbid();
    atomic_store(&banned, true);
    atomic_store(&claimed, 1);
    atomic_store_explicit(&watchdog_thread_wanted, false, memory_order_relaxed);
}

bool watchdog_thread_is_banned(void)
{
    return atomic_load(&banned);
}

void watchdog_thread_resume(void)
{
    if (atomic_fetch_sub(&slot.holds, 1) == 1 && !atomic_load(&banned))
        want_again();
}

bool watchdog_thread_is_self(void)
{
    return atomic_load(&slot.there) && atomic_load(&slot.id) == (int)syscall(SYS_gettid);
}
