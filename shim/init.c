#include "shim/init.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/self_test.h"
#include "pool/pool.h"
#include "pool/region/region.h"
#include "pool/region/remap.h"
#include "pressure/kernel/futex_lock.h"
#include "pressure/watchdog_thread.h"
#include "shim/atfork.h"
#include "shim/base/env_copy.h"
#include "shim/base/log.h"
#include "shim/base/raw.h"
#include "shim/glue/exit_report.h"
#include "shim/glue/mapped_files.h"
#include "shim/glue/prometheus.h"
#include "shim/glue/verbose.h"
#include "shim/glue/watchdog.h"
#include "shim/heap.h"
#include "shim/jemalloc/aside.h"
#include "shim/jemalloc/guarded.h"
#include "shim/lowmem/extent_tuning.h"
#include "shim/next.h"
#include "shim/own_thread/confine.h"
#include "shim/own_thread/first_thread.h"
#include "shim/own_thread/raw_fork.h"
#include "shim/profile/dump.h"
#include "shim/profile/misuse.h"
#include "shim/profile/sampling.h"
#include "shim/profile/script.h"

struct config boot_config;

// The user's MALLOC_CONF comes after this and wins.
//
// No huge pages, until TIDEPOOL_THP says otherwise. Where the system hands them out unasked, a few
// KiB in use keep 2 MiB resident.
//
// A slab of a size that is a power of two is one page, that of any other three to seven. Four of
// them make slabs come and go a quarter as often, and halve what 256 such blocks cost in turn. Not
// from 4 KiB up, where each block has pages of its own, which go back one by one.
//
// Free pages of any extent serve any request while memory is plenty: see je_private_cut_any().
// Without private parts they always do: 12 rounds of 64 MiB of 10,000-byte blocks kept 300 MiB.
//
// A thread cache's list has up to 352 blocks instead of 200, and 100 of the rarest size instead of
// 20. What that keeps is bounded by bytes (pool/jemalloc_private/tcache.h).
extern const char *je_malloc_conf;
const char *je_malloc_conf =
    "thp:never,slab_sizes:64-64:4|128-128:4|256-256:4|512-512:4|1024-1024:4|2048-2048:4,"
    "tcache_nslots_small_min:100,tcache_nslots_small_max:352,lg_tcache_nslots_mul:4,"
    "lg_extent_max_active_fit:63";

enum stage { NOT_YET, UNDER_WAY, UP, OFF };
static _Atomic int settings_stage, pools_stage;
static bool records_files, steps_aside;

// How long a request waits at most for another thread to set the pools up, which takes it a
// millisecond; then it is served without them. And a fork, whose child could not have them any
// more: it waits in vain only where the other thread needs a lock that the program forks with.
#define START_WAIT_MS 100
#define FORK_WAIT_MS 10000

static _Atomic(pthread_t) starter;
static struct futex_bell started;
static _Atomic bool in_vain;      // a request has waited long enough for all
static _Atomic bool starter_gone; // its thread is not in this child

// Moves on from NOT_YET; true for one thread only.
static bool claim(_Atomic int *stage)
{
    int expected = NOT_YET;

    return atomic_load_explicit(stage, memory_order_relaxed) == NOT_YET &&
           atomic_compare_exchange_strong(stage, &expected, UNDER_WAY);
}

static void to_stderr(void *arg, const char *text)
{
    (void)arg;
    log_line(LOG_CONFIG, "%s", text);
}

static const char *executable(void)
{
    return (const char *)getauxval(AT_EXECFN);
}

static void keep_settings(struct config *c)
{
    c->prom_dir = keep_text(c->prom_dir);
    c->labels = keep_text(c->labels);
    c->mfile = keep_text(c->mfile);
    c->sample_dir = keep_text(c->sample_dir);
}

// Reads the environment, once it is there: ld.so may allocate before libc has set it.
static bool read_settings(void)
{
    static char *nothing[] = {NULL};
    const struct config_sink sink = {.line = to_stderr};

    if (!environ || !claim(&settings_stage))
        return atomic_load(&settings_stage) == UP;
    // As libc's secure_getenv: a set-uid program does not listen to its caller.
    char **env = getauxval(AT_SECURE) ? nothing : environ;
    bool leave = config_load(&boot_config, env, executable(), &sink);
    keep_settings(&boot_config);
    log_set_verbose(boot_config.verbose);
    misuse_init(boot_config.on_misuse);
    if (leave)
        _exit(CONFIG_EXIT_STATUS);
    steps_aside = !boot_config.disable && aside();
    boot_config.disable |= steps_aside;
    if (!boot_config.use_private)
        je_private_switch_off();
    if (!boot_config.disable) {
        raw_fork_set_handlers(forks_under_way, forks_settle_child);
        // Our first thread may start before our constructor runs, whose own calls allocate.
        confine_init(&boot_config);
        records_files = files_init(&boot_config);
    }
    atomic_store(&settings_stage, UP);
    return true;
}

// An eighth of the memory there is: enough that the bucket limits decide on most hosts, little
// enough that what is kept is never what a limit is passed by. The watchdog lowers it when memory
// is short.
static uint64_t automatic_max_bytes(void)
{
    struct sysinfo info;
    uint64_t memory = boot_config.limit_bytes;

    if (!memory && sysinfo(&info) == 0)
        memory = (uint64_t)info.totalram * info.mem_unit;
    return memory / 8;
}

// jemalloc reads its options at the first request, which has to be before this.
static void choose_huge_pages(enum config_thp thp)
{
    if (thp != CONFIG_THP_NEVER)
        je_private_set_thp(thp == CONFIG_THP_MADVISE);
}

// jemalloc keeps address space for ever. Where that is limited, or data, which is what may be
// written of it, what one arena keeps another lacks,
// and requests fail although everything was freed.
void boot_spare_address_space(void)
{
    je_private_spare_addresses(UINT64_MAX);
}

static void moves_are_off(const char *why)
{
    log_line(LOG_FEATURE, "free pages are not moved near the limit: %s", why);
}

// Pages that are moved bring along what they contain.
static void allow_moves(void)
{
    bool zero = true;
    size_t len = sizeof zero;

    guarded_mallctl("opt.zero", &zero, &len, NULL, 0);
    if (!zero && je_private_is_on())
        remap_allow(moves_are_off);
}

// An arena counts 2 MiB against these limits before it serves anything, so there is one for each
// 128 MiB. jemalloc asks for this number when it gives a thread its arena; ours, too, has one.
#define LIMIT_PER_ARENA ((rlim_t)128 << 20)

static void spare_address_space(void)
{
    struct rlimit as = {RLIM_INFINITY, 0}, data = {RLIM_INFINITY, 0};

    getrlimit(RLIMIT_AS, &as);
    getrlimit(RLIMIT_DATA, &data);
    rlim_t limit = as.rlim_cur < data.rlim_cur ? as.rlim_cur : data.rlim_cur;
    if (limit == RLIM_INFINITY)
        return;
    je_private_spare_addresses(limit / LIMIT_PER_ARENA);
}

static void pools_meet_wall(const void *at)
{
    log_line(LOG_FEATURE, "pools grow no further: another mapping lies behind %p", at);
}

static struct verbose_pools started_with;

static void start_pools(const struct quota_bucket *bucket, uint64_t max_bytes)
{
    const struct pool_options options = {
        .bucket = bucket,
        .bucket_count = boot_config.bucket_count,
        .max_bytes = max_bytes,
        .thp = (enum region_thp)boot_config.thp,
    };
    bool can_drain = false;
    int err = pool_init(&options, &can_drain);

    started_with = (struct verbose_pools){!err, can_drain, max_bytes};

    if (err == -ENODEV)
        return; // all buckets are off, as asked
    if (err) {
        log_line(LOG_FEATURE, "pools are off: no address space for them");
        return;
    }
    region_on_wall = pools_meet_wall;
    if (!can_drain)
        log_line(LOG_FEATURE, "membarrier is refused: a thread's cache is drained by itself only");
    for (unsigned w = 0; w < boot_config.warmup_count; w++)
        pool_warm_up(boot_config.warmup[w].size_bytes, boot_config.warmup[w].count);
}

// Before anything depends on it.
static void judge_private(void)
{
    const char *wrong = je_private_test();

    if (!wrong)
        return;
    je_private_switch_off();
    log_line(LOG_FEATURE, "jemalloc's private parts are not used: %s", wrong);
}

static void start(void)
{
    struct quota_bucket bucket[QUOTA_BUCKETS_MAX];
    uint64_t max_bytes = boot_config.pool_max_bytes;

    static_assert(QUOTA_BUCKETS_MAX >= CONFIG_BUCKETS_MAX, "every bucket that can be set");
    for (unsigned b = 0; b < boot_config.bucket_count; b++)
        bucket[b] = (struct quota_bucket){.bound_bytes = boot_config.bucket[b].bound_bytes,
                                          .limit = boot_config.bucket[b].limit,
                                          .limit_is_bytes = boot_config.bucket[b].limit_is_bytes,
                                          .follows = boot_config.bucket[b].limit_follows};
    if (!max_bytes)
        max_bytes = automatic_max_bytes();
    forks_register();
    judge_private();
    raw_fork_init();
    choose_huge_pages(boot_config.thp);
    spare_address_space();
    oversize_init();
    watchdog_init(&boot_config, max_bytes);
    exporter_init(&boot_config);
    start_pools(bucket, max_bytes);
    allow_moves();
    sampling_start(&boot_config);
    dump_init(&boot_config);
}

// True if another thread sets the pools up, and still did so after `ms`.
static bool starts_elsewhere(unsigned ms)
{
    uint32_t seen = futex_bell_read(&started);

    return atomic_load(&pools_stage) == UNDER_WAY &&
           !pthread_equal(atomic_load(&starter), pthread_self()) &&
           !futex_bell_wait(&started, seen, ms);
}

// What jemalloc serves meanwhile comes back to its caches, where only the threads that freed it can
// reach it: sixteen that began at once kept 28 MiB for good.
static void await_start(void)
{
    int saved = errno;

    if (!atomic_load(&in_vain) && starts_elsewhere(START_WAIT_MS))
        atomic_store(&in_vain, true);
    errno = saved;
}

void boot_settle(void)
{
    int saved = errno;

    if (!atomic_load(&starter_gone))
        starts_elsewhere(FORK_WAIT_MS);
    errno = saved;
}

void boot_child(void)
{
    if (!starts_elsewhere(0))
        return;
    atomic_store(&starter_gone, true);
    atomic_store(&in_vain, true);
}

// False during a fork: the child would have half of what we set up. A fork that begins after this
// waits for us.
static bool may_start(void)
{
    atomic_store(&starter, pthread_self());
    if (!forks_under_way())
        return true;
    atomic_store_explicit(&pools_stage, NOT_YET, memory_order_release);
    futex_bell_ring(&started);
    return false;
}

bool boot_pools(void)
{
    int saved = errno;
    int stage = atomic_load_explicit(&pools_stage, memory_order_acquire);

    if (likely(stage == UP))
        return true;
    // A handler's request, and starting takes what its thread may hold.
    if (guard_entered())
        return false;
    if (stage == NOT_YET && read_settings() && claim(&pools_stage)) {
        if (may_start()) {
            if (boot_config.disable)
                pool_range.span = 0;
            else
                start();
            atomic_store_explicit(&pools_stage, boot_config.disable ? OFF : UP,
                                  memory_order_release);
            futex_bell_ring(&started);
        }
        errno = saved;
    } else if (stage != OFF) {
        await_start();
    }
    return atomic_load_explicit(&pools_stage, memory_order_acquire) == UP;
}

bool (*const heap_start)(void) = boot_pools;

// Takes this library out of LD_PRELOAD, so that what the program starts runs without it.
static void leave_children_alone(void)
{
    char *preload = getenv("LD_PRELOAD");
    char *name = preload ? strstr(preload, "libtidepool.so") : NULL;
    char *start = name, *end;

    if (!name)
        return;
    end = name + strlen("libtidepool.so");
    // A name that only begins like ours, libtidepool.so.old, is left alone.
    if (!strchr(": ", *end))
        return;
    while (start > preload && !strchr(": ", start[-1]))
        start--;
    // With the separator behind it, or the one before it at the end.
    if (*end)
        end++;
    else if (start > preload)
        start--;
    memmove(start, end, strlen(end) + 1);
    if (!*preload)
        unsetenv("LD_PRELOAD");
}

// By libc's own name, not by the one in force, which may be another preloaded library's.
static void find_clock(void)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

    if (!libc)
        return;
    raw_use_clock(dlsym(libc, "clock_gettime"));
    dlclose(libc);
}

__attribute__((constructor)) static void at_load(void)
{
    log_start();
    next_find();
    find_clock();
    if (!read_settings())
        return;
    if (boot_config.no_children)
        leave_children_alone();
    if (steps_aside)
        log_line(LOG_FEATURE, "steps aside: malloc is that of %s", aside_for());
    if (boot_config.disabled_by)
        log_line(LOG_INFO, "version " TIDEPOOL_VERSION ": off in this process, by %s",
                 boot_config.disabled_by);
    if (boot_config.disable)
        return;
    watchdog_thread_at_load();
    forks_register();
    first_thread_watch();
    // A program of small blocks alone asks nothing of the pools, and is sampled, its mapped files
    // are watched, its metrics are written and its limit is kept, nevertheless.
    if (boot_config.warmup_count || boot_config.sample_bytes || boot_config.prom_dir ||
        records_files || boot_config.on_limit_enomem)
        boot_pools();
    if (boot_config.sample_bytes)
        script_find(true);
    files_start();
    // One line for each program, whether it will need the pools or not.
    if (boot_config.verbose > 0) {
        boot_pools();
        verbose_started(&boot_config, &started_with);
    }
}

__attribute__((destructor)) static void at_exit(void)
{
    const char *path;

    // Behind a filter that the program has installed each system call may be its end; another
    // process removes its file. A child of vfork() that leaves by exit() shares our memory, and its
    // parent's thread goes on.
    if (watchdog_thread_is_banned() || !watchdog_thread_owns_memory())
        return;
    watchdog_thread_stop();
    exporter_exit();
    if (boot_config.sample_dump_at_exit && atomic_load(&pools_stage) == UP)
        dump_write("exit", &path);
    if (boot_config.stats_at_exit && atomic_load(&pools_stage) == UP)
        report_stats();
}
