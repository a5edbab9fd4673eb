#include "pool/region_inside.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "pool/je.h"
#include "pool/pages.h"

// What 32-bit unit numbers reach. Blocks beyond it come from jemalloc's own heap.
#define REGION_MAX_BYTES ((size_t)256 << 30)
static_assert(REGION_MAX_BYTES >> REGION_UNIT_LG <= (size_t)1 << 32, "units are 32-bit numbers");
#define REGION_MIN_BYTES ((size_t)64 << 20)

// Pages become readable and writable in steps, because where overcommit is off (mode 2) what is
// writable counts as used.
#define COMMIT_STEP_BYTES ((size_t)16 << 20)
#define MAP_BYTES_PER(bytes) ((bytes) / 1024 * sizeof(struct entry))
#define NOTE_BYTES_PER(bytes) ((bytes) / 1024 * sizeof(uint32_t))

struct region region;

static struct {
    pthread_mutex_t lock; // a leaf: nothing is called with it but the kernel
    size_t used;          // handed to jemalloc so far; never shrinks
    size_t committed;     // readable and writable so far, map included
    extent_hooks_t hooks;
    bool (*decommit)(extent_hooks_t *, void *, size_t, size_t, size_t, unsigned); // jemalloc's
} space = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *map_none(size_t bytes)
{
    void *at =
        pages_mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

bool region_make_writable(uintptr_t at, size_t bytes)
{
    return syscall(SYS_mprotect, at, bytes, PROT_READ | PROT_WRITE) == 0;
}

// Makes sure that the first `upto` bytes of the region can be used. Called with the lock held.
static bool commit_upto(size_t upto)
{
    size_t step, want;

    if (upto <= space.committed)
        return true;
    step = upto - space.committed;
    step = (step + COMMIT_STEP_BYTES - 1) & ~(COMMIT_STEP_BYTES - 1);
    if (step > region_end_of_blocks() - space.committed)
        step = region_end_of_blocks() - space.committed;
    want = space.committed + step;
    if (!region_make_writable((uintptr_t)region.map + MAP_BYTES_PER(space.committed),
                              MAP_BYTES_PER(step)) ||
        !region_make_writable((uintptr_t)region.notes + NOTE_BYTES_PER(space.committed),
                              NOTE_BYTES_PER(step)))
        return false;
    if (!region_make_writable(region.base + space.committed, step))
        return false;
    space.committed = want;
    return true;
}

static void *take(size_t bytes, size_t alignment)
{
    uintptr_t at = 0;

    pthread_mutex_lock(&space.lock);
    uintptr_t start = (region.base + space.used + alignment - 1) & ~(alignment - 1);
    size_t end;
    if (!__builtin_add_overflow(start - region.base, bytes, &end) &&
        end <= region_end_of_blocks() && commit_upto(end)) {
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
    void *at = take(size, alignment);
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

// Where jemalloc's map of extents has the entry of a page; NULL where it has none.
static char *je_entry(uintptr_t page)
{
    _Alignas(64) char cache[1024] = {0}; // of lookups, empty; a rtree_ctx_t is 384 bytes

    return je_rtree_leaf_elm_lookup_hard(NULL, je_arena_emap_global, cache, page, false, false);
}

// That map has 8 bytes for each page, of which free extents need those of their first and last page
// only: the others are written before they are read again. Whoever purges an extent has it for
// himself, so a page of the map that describes nothing but the middle of it is nobody else's.
static void forget_extent(uintptr_t at, size_t bytes)
{
    const size_t entry = 8, leaf = (size_t)1 << 30; // of addresses: so far entries lie in a row

    if (bytes < 4096 / entry * 4096)
        return;
    for (uintptr_t first = at + 4096, last = at + bytes - 8192, end; first < last;
         first = end + 1) {
        end = first | (leaf - 4096);
        if (end > last)
            end = last;
        char *from = je_entry(first), *to = je_entry(end);
        if (from && to && (size_t)(to - from) == (end - first) / 4096 * entry)
            forget_pages(from, to);
        end |= 4095;
    }
}

// Where no page is left there is no block: the entries read as zero again, a page for each 2 MiB. A
// second free of what was there then passes for one of an address that never was a block's, which
// small purges are not worth.
static void forget(uintptr_t at, size_t bytes)
{
    void *first = (void *)at, *end = (void *)(at + bytes);
    int saved = errno;

    forget_pages(region_entry_at(first), region_entry_at(end));
    forget_extent(at, bytes);
    if (region_has_notes())
        forget_pages(region_note_at(first), region_note_at(end));
    errno = saved;
}

static bool hook_decommit(extent_hooks_t *hooks, void *addr, size_t size, size_t offset,
                          size_t length, unsigned arena)
{
    if (space.decommit(hooks, addr, size, offset, length, arena))
        return true;
    forget((uintptr_t)addr + offset, length);
    return false;
}

static int create_arena(void)
{
    extent_hooks_t *defaults, *ours = &space.hooks;
    size_t len = sizeof defaults, index_len = sizeof region.arena;

    if (je_mallctl("arena.0.extent_hooks", &defaults, &len, NULL, 0))
        return -ENOMEM;
    pages_probe();
    space.hooks = *defaults;
    space.hooks.alloc = hook_alloc;
    space.hooks.dalloc = hook_dalloc;
    space.hooks.destroy = hook_destroy;
    space.decommit = space.hooks.decommit;
    space.hooks.decommit = hook_decommit;
    if (je_mallctl("arenas.create", &region.arena, &index_len, &ours, sizeof ours))
        return -ENOMEM;
    return 0;
}

// Address space that is limited belongs to the program first: a quarter of it is ours at most.
static size_t wanted_bytes(void)
{
    struct rlimit as;
    size_t bytes = REGION_MAX_BYTES;

    if (getrlimit(RLIMIT_AS, &as) == 0 && as.rlim_cur != RLIM_INFINITY)
        while (bytes > as.rlim_cur / 4)
            bytes /= 2;
    return bytes;
}

static void advise_kernel(enum region_thp thp)
{
    // A huge page of the map would describe 1 GiB of blocks: it is sparse, keep it so.
    pages_madvise(region.map, region.base - (uintptr_t)region.map, MADV_NOHUGEPAGE);
    if (thp != REGION_THP_DEFAULT)
        pages_madvise((void *)region.base, region.bytes,
                      thp == REGION_THP_MADVISE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    // The map differs from page to page, and is written too often to be worth a look.
    if (pages_merge)
        pages_madvise((void *)region.base, region.bytes, MADV_MERGEABLE);
}

int region_init(enum region_thp thp)
{
    const size_t align = (size_t)2 << 20;
    size_t bytes, maps = 0;
    char *at = NULL;

    // Maps and blocks are one reservation, so that neither can be had without the other.
    for (bytes = wanted_bytes(); bytes >= REGION_MIN_BYTES; bytes /= 2) {
        maps = MAP_BYTES_PER(bytes) + NOTE_BYTES_PER(bytes);
        at = map_none(bytes + maps + align);
        if (at)
            break;
    }
    if (!at)
        return -ENOMEM;
    region.map = (struct entry *)at;
    region.notes = (uint32_t *)(at + MAP_BYTES_PER(bytes));
    // The maps can be read from one end to the other, so that any address can be looked up; what is
    // not writable costs nothing.
    if (mprotect(at, maps, PROT_READ) != 0)
        goto fail;
    region.base = ((uintptr_t)at + maps + align - 1) & ~(align - 1);
    region.bytes = bytes;
    region.map_of_zero = (uintptr_t)region.map - (region.base >> 10) * sizeof(struct entry);
    space.used = 4096; // unit 0 is never a block
    advise_kernel(thp);
    if (commit_upto(space.used) && create_arena() == 0)
        return 0;
fail:
    pages_munmap(at, bytes + maps + align);
    region = (struct region){0};
    return -ENOMEM;
}

// Nothing lies there, and no address of it was ever given to anybody, so whoever still goes by the
// old size asks about no pointer that could be there.
static void cut(size_t bytes)
{
    size_t old = region.bytes;

    __atomic_store_n(&region.bytes, bytes, __ATOMIC_RELAXED);
    if (region_has_slots_out()) {
        __atomic_store_n(&region.bytes, old, __ATOMIC_RELAXED);
        return;
    }
    pages_munmap((void *)(region.base + bytes), old - bytes);
    pages_munmap((char *)region.map + MAP_BYTES_PER(bytes), MAP_BYTES_PER(old - bytes));
    pages_munmap((char *)region.notes + NOTE_BYTES_PER(bytes), NOTE_BYTES_PER(old - bytes));
}

void region_shrink(uint64_t address_space_bytes)
{
    int saved = errno;

    pthread_mutex_lock(&space.lock);
    size_t bytes = region.bytes;
    while (bytes > address_space_bytes / 4 && bytes / 2 >= REGION_MIN_BYTES &&
           space.committed <= bytes / 2 - REGION_SLOTS_MAX * REGION_SLOT_BYTES)
        bytes /= 2;
    if (bytes < region.bytes)
        cut(bytes);
    pthread_mutex_unlock(&space.lock);
    errno = saved;
}

void region_purge(void)
{
    static size_t mib[3];
    static size_t len; // set last; a race writes the same values twice
    int saved = errno;

    region_enter();
    if (!len) {
        size_t n = array_len(mib);
        if (je_mallctlnametomib("arena.0.purge", mib, &n)) {
            region_leave();
            return;
        }
        mib[1] = region.arena;
        len = n;
    }
    je_mallctlbymib(mib, len, NULL, NULL, NULL, 0);
    region_leave();
    errno = saved;
}

// The lock cannot be taken before a fork, for jemalloc's come before it; and jemalloc calls for
// more with none of its own held where it has tried in vain, so that it may be locked by a thread
// that the child does not have. What that thread was half way through is space handed to nobody.
void region_postfork_child(void)
{
    space.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}
