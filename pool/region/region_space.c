#include "pool/region/region.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/common/marks.h"
#include "pool/common/pages.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/holes.h"
#include "pool/region/window.h"

static_assert(REGION_MAX_BYTES >> REGION_UNIT_LG <= (size_t)1 << 32, "units are 32-bit numbers");
#define REGION_MIN_BYTES ((size_t)64 << 20)

// The blocks are mapped in steps of a sixteenth of what there is already; the maps, two and four
// bytes for each KiB, in steps that last for 16 MiB of blocks and more.
#define STEP_BYTES ((size_t)256 << 10)
#define HUGE_STEP_BYTES ((size_t)2 << 20) // where huge pages are wanted
#define STEP_PART 16
#define MAP_STEP_BYTES ((size_t)64 << 10)
#define MAP_BYTES_PER(bytes) ((bytes) / 1024 * sizeof(struct entry))
#define NOTE_BYTES_PER(bytes) ((bytes) / 1024 * sizeof(uint32_t))

struct region region;
void (*region_on_wall)(const void *at);

static struct {
    pthread_mutex_t lock; // a leaf: nothing is called with it but the kernel
    size_t used;          // addresses handed to jemalloc, from the base on; never shrinks
    unsigned forks;       // under way: nothing is mapped meanwhile
    // All of the maps that belong to mapped blocks, and to what lies before them, is mapped.
    struct window map, notes, blocks;
    // What lies before the first block counts as the region's: a block of jemalloc's, mapped there
    // in a crowded address space, would pass for a pooled one.
    struct window head;
    extent_hooks_t hooks;
    bool (*commit)(extent_hooks_t *, void *, size_t, size_t, size_t, unsigned); // jemalloc's
    bool (*decommit)(extent_hooks_t *, void *, size_t, size_t, size_t, unsigned);
} space = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Atomic bool limits_are_final;
static _Atomic rlim_t data_limit = RLIM_INFINITY, address_limit = RLIM_INFINITY; // as last read

static void read_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_DATA, &limit) == 0)
        atomic_store_explicit(&data_limit, limit.rlim_cur, memory_order_relaxed);
    if (getrlimit(RLIMIT_AS, &limit) == 0)
        atomic_store_explicit(&address_limit, limit.rlim_cur, memory_order_relaxed);
}

// What is limited belongs to the program first: a quarter of it is the region's at most.
static size_t quarter_of(rlim_t limit, size_t bytes)
{
    return limit != RLIM_INFINITY && limit / 4 < bytes ? limit / 4 : bytes;
}

static size_t allowed_bytes(size_t bytes)
{
    if (!atomic_load(&limits_are_final))
        read_limits();
    rlim_t data = atomic_load_explicit(&data_limit, memory_order_relaxed);
    rlim_t addresses = atomic_load_explicit(&address_limit, memory_order_relaxed);
    return quarter_of(data, quarter_of(addresses, bytes));
}

void region_limits_are_final(void)
{
    atomic_store(&limits_are_final, true);
}

static size_t round_up(size_t bytes, size_t step)
{
    return (bytes + step - 1) / step * step;
}

// The maps first: what is mapped of them without blocks does no harm.
static bool map_just(size_t upto)
{
    if (!window_grow(&space.map, round_up(MAP_BYTES_PER(upto), MAP_STEP_BYTES)) ||
        !window_grow(&space.notes, round_up(NOTE_BYTES_PER(upto), MAP_STEP_BYTES)) ||
        !window_grow(&space.blocks, upto - REGION_FIRST_BLOCK_BYTES))
        return false;
    __atomic_store_n(&region.bytes, REGION_FIRST_BLOCK_BYTES + space.blocks.bytes,
                     __ATOMIC_RELEASE);
    return true;
}

// The next attempt gets no further, unless what is in the way has gone by then.
static bool stop_at_wall(void)
{
    void (*tell)(const void *) = region_on_wall;

    if (errno == EEXIST && tell) {
        region_on_wall = NULL;
        tell((void *)(space.blocks.begin + space.blocks.bytes));
    }
    return false;
}

// Makes sure that the first `upto` bytes of the region can be used. Called with the lock held.
static bool map_upto(size_t upto)
{
    if (upto <= region_bytes())
        return true;
    if (space.forks || upto > allowed_bytes(region.max_bytes))
        return false;
    size_t step = space.blocks.advice == MADV_NOHUGEPAGE ? STEP_BYTES : HUGE_STEP_BYTES;
    size_t more = round_up(upto + space.blocks.bytes / STEP_PART, step);
    return (more <= space.used && map_just(more)) || map_just(round_up(upto, step)) ||
           map_just(upto) || stop_at_wall();
}

// Where mappings may be refused, all that jemalloc gets is mapped: it would choose what is not yet
// before what is, and fail.
static bool is_limited(void)
{
    return !pages_overcommit() || allowed_bytes(SIZE_MAX) != SIZE_MAX;
}

// What jemalloc had before is mapped by then, so that requests in vain do not use up addresses.
static void *take(size_t bytes, size_t alignment, bool mapped)
{
    uintptr_t at = 0;

    pthread_mutex_lock(&space.lock);
    uintptr_t start = (region.base + space.used + alignment - 1) & ~(alignment - 1);
    size_t end, used = space.used;
    if (!__builtin_add_overflow(start - region.base, bytes, &end) &&
        end <= allowed_bytes(region.max_bytes) && map_upto(mapped ? end : used)) {
        space.used = end;
        at = start;
    }
    pthread_mutex_unlock(&space.lock);
    return (void *)at;
}

static void *hook_alloc(extent_hooks_t *hooks, void *addr, size_t size, size_t alignment,
                        bool *zero, bool *commit, unsigned arena)
{
    (void)hooks, (void)arena;
    // A wish for an address comes from growing in place, which a bump pointer cannot grant.
    if (addr)
        return NULL;
    void *at = take(size, alignment, *commit || is_limited());
    if (at) {
        *zero = true;
        // Where jemalloc wants them committed, as it does with retain:false, it takes our word that
        // they are not, commits nothing, and believes them zero whenever they come back.
        if (*commit)
            pages_take(size);
        // Else it tells when it begins to use the pages.
    }
    return at;
}

// Address space is never given back: jemalloc keeps it as retained and takes it from there again.
static bool hook_dalloc(extent_hooks_t *hooks, void *addr, size_t size, bool committed,
                        unsigned arena)
{
    (void)hooks, (void)addr, (void)size, (void)committed, (void)arena;
    return true;
}

static void hook_destroy(extent_hooks_t *hooks, void *addr, size_t size, bool committed,
                         unsigned arena)
{
    (void)hooks, (void)addr, (void)size, (void)committed, (void)arena;
}

static void forget_pages(void *first, void *end)
{
    uintptr_t from = ((uintptr_t)first + 4095) & ~(uintptr_t)4095;
    uintptr_t to = (uintptr_t)end & ~(uintptr_t)4095;

    if (from < to)
        pages_madvise((void *)from, to - from, MADV_DONTNEED);
}

// jemalloc 5.3: 41 bits of an entry are the address of what describes the extent, which is never
// unmapped, and has a bit for "slab" in its first word. The entry has such a bit as well, but keeps
// it at the end of a large block that was a slab.
bool region_is_slab(uintptr_t page)
{
    const uint64_t *entry = je_private_entry(page);
    uint64_t extent =
        entry ? __atomic_load_n(entry, __ATOMIC_SEQ_CST) & UINT64_C(0xffffffffff80) : 0;

    return extent && (__atomic_load_n((const uint64_t *)extent, __ATOMIC_RELAXED) & 1 << 12);
}

// Where no page is left there is no block: the entries read as zero again, a page for each 2 MiB. A
// second free of what was there then passes for one of an address that never was a block's, which
// small purges are not worth.
static void forget(uintptr_t at, size_t bytes)
{
    void *first = (void *)at, *end = (void *)(at + bytes);
    int saved = errno;

    forget_pages(region_entry_at(first), region_entry_at(end));
    if (region_has_notes())
        forget_pages(region_note_at(first), region_note_at(end));
    errno = saved;
}

// The first use of pages, or the first since they were given back.
static bool hook_commit(extent_hooks_t *hooks, void *addr, size_t size, size_t offset,
                        size_t length, unsigned arena)
{
    pthread_mutex_lock(&space.lock);
    bool mapped = map_upto((uintptr_t)addr + offset + length - region.base);
    pthread_mutex_unlock(&space.lock);
    if (mapped && je_private_is_on())
        return space.commit(hooks, addr, size, offset, length, arena);
    if (mapped)
        pages_take(length);
    return !mapped;
}

static bool hook_decommit(extent_hooks_t *hooks, void *addr, size_t size, size_t offset,
                          size_t length, unsigned arena)
{
    if (space.decommit(hooks, addr, size, offset, length, arena))
        return true;
    if (!je_private_is_on())
        pages_return(length);
    forget((uintptr_t)addr + offset, length);
    return false;
}

static int create_arena(void)
{
    extent_hooks_t *defaults, *ours = &space.hooks;
    size_t len = sizeof defaults, index_len = sizeof region.arena;

    guard_enter();
    bool failed = je_mallctl("arena.0.extent_hooks", &defaults, &len, NULL, 0);
    guard_leave();
    if (failed)
        return -ENOMEM;
    pages_probe();
    space.hooks = *defaults;
    space.hooks.alloc = hook_alloc;
    space.hooks.dalloc = hook_dalloc;
    space.hooks.destroy = hook_destroy;
    space.commit = space.hooks.commit;
    space.hooks.commit = hook_commit;
    // jemalloc's own decommits nothing on kernels that overcommit.
    space.decommit = je_private_is_on() ? space.hooks.decommit : space.hooks.purge_forced;
    space.hooks.decommit = hook_decommit;
    guard_enter();
    failed = je_mallctl("arenas.create", &region.arena, &index_len, &ours, sizeof ours);
    guard_leave();
    return failed ? -ENOMEM : 0;
}

// Maps and blocks one behind the other, each with room for `span` bytes of blocks.
static bool map_first(uintptr_t at, size_t span)
{
    region.map = (struct entry *)at;
    region.notes = (uint32_t *)(at + MAP_BYTES_PER(span));
    region.base = at + MAP_BYTES_PER(span) + NOTE_BYTES_PER(span);
    region.map_of_zero = at - (region.base >> 10) * sizeof(struct entry);
    space.map.begin = at;
    space.notes.begin = (uintptr_t)region.notes;
    space.blocks.begin = region.base + REGION_FIRST_BLOCK_BYTES;
    space.head.begin = region.base;
    space.head.no_access = true;
    space.head.advice = MADV_DONTDUMP;
    return window_grow(&space.head, REGION_FIRST_BLOCK_BYTES) && map_upto(space.used);
}

static void give_up(void)
{
    window_close(&space.map);
    window_close(&space.notes);
    window_close(&space.blocks);
    window_close(&space.head);
    region = (struct region){0};
}

// Away from the process's other mappings, which grow towards it as a rule, and have three quarters
// of the region's largest size for themselves; where addresses are few (39 bits), of a smaller one.
static bool find_place(void)
{
    size_t allowed = allowed_bytes(REGION_MAX_BYTES);

    for (size_t span = REGION_MAX_BYTES; span >= REGION_MIN_BYTES; span /= 2) {
        uintptr_t at = window_place(span / 4 * 7);
        region.max_bytes = span < allowed ? span : allowed;
        if (at && map_first(at, span))
            return true;
        give_up();
    }
    return false;
}

int region_init(enum region_thp thp)
{
    if (allowed_bytes(REGION_MAX_BYTES) < REGION_MIN_BYTES)
        return -ENOMEM;
    guard_free_left = region_free;
    // A huge page of the map would describe 1 GiB of blocks: it is sparse, keep it so.
    space.map.advice = space.notes.advice = MADV_NOHUGEPAGE;
    space.blocks.advice = thp == REGION_THP_DEFAULT   ? MADV_NORMAL
                          : thp == REGION_THP_MADVISE ? MADV_HUGEPAGE
                                                      : MADV_NOHUGEPAGE;
    marks_huge_advice = space.blocks.advice;
    // The map differs from page to page, and is written too often to be worth a check.
    space.blocks.merge = pages_merge;
    space.used = REGION_FIRST_BLOCK_BYTES;
    if (find_place() && create_arena() == 0)
        return 0;
    give_up();
    return -ENOMEM;
}

void region_purge(void)
{
    static size_t mib[3];
    static size_t len; // set last; a race writes the same values twice
    int saved = errno;

    guard_enter();
    if (!len) {
        size_t n = array_len(mib);
        if (je_mallctlnametomib("arena.0.purge", mib, &n)) {
            guard_leave();
            return;
        }
        mib[1] = region.arena;
        len = n;
    }
    je_mallctlbymib(mib, len, NULL, NULL, NULL, 0);
    guard_leave();
    errno = saved;
}

// The lock cannot be held over a fork, for jemalloc's come before it: a thread that waits for it
// may hold one of these. Instead, nothing is mapped, so that the child knows all that is. Blocks
// that would need it come from jemalloc's own heap meanwhile.
static void count_forks(int more)
{
    pthread_mutex_lock(&space.lock);
    space.forks += (unsigned)more;
    pthread_mutex_unlock(&space.lock);
}

void region_prefork(void)
{
    count_forks(1);
}

void region_postfork_parent(void)
{
    count_forks(-1);
}

// The lock may be held by a thread that the child does not have. It has changed nothing, or the
// addresses that it took are never handed out.
void region_postfork_child(void)
{
    space.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    space.forks = 0;
    holes_postfork_child();
}
