#include "shim/glue/mapped_files.h"

#include <assert.h>
#include <stdatomic.h>
#include <sys/sysinfo.h>

#include "mfile/advise.h"
#include "mfile/calls.h"
#include "mfile/lazy.h"
#include "mfile/mfile.h"
#include "mfile/prefetch.h"
#include "mfile/range.h"
#include "pool/common/pages.h"
#include "pool/jemalloc_private/tcache.h"
#include "pressure/evaluate.h"
#include "pressure/stats_snapshot.h"
#include "pressure/watchdog_thread.h"
#include "shim/base/log.h"
#include "shim/own_thread/confine.h"

static_assert((int)LAZY_CRITICAL == PRESSURE_CRITICAL && (int)LAZY_HIGH == PRESSURE_HIGH &&
                  (int)LAZY_MODERATE == PRESSURE_MODERATE,
              "one scale");

static uint64_t evaluate_min_bytes;
static _Atomic uint64_t mapped_bytes;

// From a mapping call: the watchdog is started by the next request for memory.
static void on_file(uint64_t bytes)
{
    if (atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed) + bytes >=
        evaluate_min_bytes)
        watchdog_thread_want();
}

// Half of what is left: the other half is for what the program does meanwhile. Before the first
// evaluation only the machine's free memory is known.
static uint64_t room(void)
{
    struct pressure_stats s;
    struct sysinfo info;

    pressure_stats(&s);
    if (s.level >= PRESSURE_HIGH)
        return 0;
    if (s.sample.limit_bytes && s.sample.limit_bytes != PRESSURE_UNLIMITED)
        return s.sample.headroom_bytes / 2;
    return sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit / 2 : UINT64_MAX;
}

// The heap's mappings and the program's, if this kernel can at all.
static bool start_merging(void)
{
    if (advice_is_supported(ADVICE_MERGEABLE))
        return true;
    log_line(LOG_FEATURE, "TIDEPOOL_KSM: this kernel does not merge pages");
    return false;
}

static void begin_worker(void)
{
    tcache_never_self();
    confine_self();
}

bool files_init(const struct config *c)
{
    pages_merge = c->ksm && start_merging();
    evaluate_min_bytes = c->evaluate_min_bytes;
    prefetch_room = room;
    const struct mfile_options options = {
        .policy = c->mfile,
        .record = c->prom_dir != NULL,
        .merge = pages_merge,
        .begin_worker = begin_worker,
    };
    mfile_init(&options);
    if (mfile_wants_watchdog())
        calls_on_file = on_file;
    return options.policy || options.record;
}

void files_start(void)
{
    if (mfile_wants_worker())
        mfile_start_worker();
}

void files_tick(enum pressure_level level, uint64_t over_bytes)
{
    // In a child of fork, where no constructor ran.
    if (mfile_wants_worker())
        mfile_start_worker();
    if (mfile_wants_watchdog() || range_opted())
        lazy_relieve((enum lazy_level)level, over_bytes);
}
