#include "shim/profile/dump.h"
#include "pool/common/sampler.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "export/control.h"
#include "export/heap/heap_folder.h"
#include "export/heap/heap_profile.h"
#include "export/outside.h"
#include "pressure/watchdog_thread.h"
#include "shim/base.h"
#include "shim/base/log.h"
#include "shim/profile/sampling.h"

#define NEED_GAP_S 10
#define NEED_KEPT 4

static struct {
    const char *dir;
    bool reachable; // by tools
    _Atomic bool busy;
    _Atomic uint64_t written, failed;
    // Behind `busy`:
    unsigned number;            // of the last dump, but where another user had taken that name:
    unsigned last;              // its real one
    unsigned needed[NEED_KEPT]; // of those in need, a ring
    unsigned needs;             // how many there were
    int64_t needed_s;           // when the last was
    char path[4096];
} dump;

static int64_t now_s(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec;
}

static bool claim(void)
{
    return !atomic_exchange_explicit(&dump.busy, true, memory_order_acquire);
}

static void let_go(void)
{
    atomic_store_explicit(&dump.busy, false, memory_order_release);
}

static int write_claimed(const char *why)
{
    struct sampling_stats s;
    int e;

    sampling_stats(&s);
    const struct heap_profile_info info = {
        .why = why,
        .interval_bytes = s.interval_bytes,
        .samples = s.samples,
        .dropped = s.dropped,
        .outside_bytes = outside_bytes(),
        .unix_s = (uint64_t)now_s(CLOCK_REALTIME),
    };
    if (!dump.number)
        dump.number = heap_profile_taken(dump.dir);
    dump.last = ++dump.number;
    e = heap_profile_dump(dump.dir, &dump.last, &info, dump.path, sizeof dump.path);
    atomic_fetch_add_explicit(e ? &dump.failed : &dump.written, 1, memory_order_relaxed);
    if (e)
        log_line(LOG_FEATURE, "no heap profile: %s: %s", dump.dir, strerrordesc_np(-e));
    else
        log_line(LOG_PRESSURE, "heap profile (%s): %s.heap", why, dump.path);
    return e;
}

// "dump" over the control channel: the profile's path.
static void answer(int fd, const char *argument)
{
    char path[sizeof dump.path + 8];
    const char *where;
    int e = *argument ? -EINVAL : dump_write("request", &where);

    if (e == -EINVAL)
        control_error(fd, "dump takes no argument");
    else if (e == -ENODEV)
        control_error(fd, "nothing is sampled here: start it with TIDEPOOL_SAMPLE=on");
    else if (e == -EBUSY)
        control_error(fd, "a profile is being written already");
    else if (e)
        control_error(fd, "the profile cannot be written: see the process's stderr");
    else if (control_ok(fd))
        control_send(fd, path, log_format(path, sizeof path, "%s.heap\n", where));
}

// A small process, too, is asked for a profile, and it is this thread that answers.
static void want_thread(void)
{
    if (dump.reachable && sampler_is_on())
        watchdog_thread_want_later();
}

void dump_init(const struct config *config)
{
    dump.dir = config->sample_dir;
    dump.reachable = config->control;
    control_register("dump", answer);
    want_thread();
}

int dump_write(const char *why, const char **path)
{
    int e;

    if (!sampler_is_on())
        return -ENODEV;
    if (!claim())
        return -EBUSY;
    e = write_claimed(why);
    *path = dump.path;
    let_go();
    return e;
}

// The last few are kept, the oldest of them goes.
static void keep_last(unsigned number)
{
    unsigned *slot = &dump.needed[dump.needs++ % NEED_KEPT];

    if (*slot)
        heap_profile_remove(dump.dir, *slot);
    *slot = number;
}

void dump_in_need(void)
{
    int64_t now = now_s(CLOCK_MONOTONIC);
    int saved = errno;

    if (!sampler_is_on() || !claim())
        return;
    if (!dump.needs || now - dump.needed_s >= NEED_GAP_S) {
        dump.needed_s = now;
        if (write_claimed(HEAP_FOLDER_PRESSURE) == 0) {
            keep_last(dump.last);
            heap_folder_prune(dump.dir);
        }
    }
    let_go();
    errno = saved;
}

uint64_t dump_written(void)
{
    return atomic_load_explicit(&dump.written, memory_order_relaxed);
}

uint64_t dump_failed(void)
{
    return atomic_load_explicit(&dump.failed, memory_order_relaxed);
}

// What the parent wrote is the parent's.
void dump_child(void)
{
    dump.needs = 0;
    for (unsigned i = 0; i < NEED_KEPT; i++)
        dump.needed[i] = 0;
    let_go();
    want_thread();
}
