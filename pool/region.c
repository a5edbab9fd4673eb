#include "pool/region.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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

#define FORGET_BYTES ((size_t)4 << 20)

// What signal handlers get: one block each, whatever the size. A region of 64 MiB has 2 of them,
// one of 512 MiB and more has 16.
#define SLOTS_MAX 16u
#define SLOT_BYTES ((size_t)5 << 18)

static unsigned slot_count(void)
{
    size_t count = region.bytes >> 25;

    return count < SLOTS_MAX ? (unsigned)count : SLOTS_MAX;
}

struct region region;

// This thread is inside jemalloc with the arena's locks.
static _Thread_local volatile sig_atomic_t inside __attribute__((tls_model("initial-exec")));
static _Atomic uint32_t slots_taken, deferred; // a bit each; the first of a list of blocks

static struct {
    pthread_mutex_t lock; // a leaf: nothing is called with it but mprotect
    size_t used;          // handed to jemalloc so far; never shrinks
    size_t committed;     // readable and writable so far, map included
    extent_hooks_t hooks;
    bool (*decommit)(extent_hooks_t *, void *, size_t, size_t, size_t, unsigned); // jemalloc's
    _Atomic uint64_t created[SIZE_CLASS_END], released[SIZE_CLASS_END];
    _Atomic uint64_t run_bytes;
} space = {.lock = PTHREAD_MUTEX_INITIALIZER};

// The system calls are made raw: the process's own mmap() may be interposed, by us among others.
static void *map_none(size_t bytes)
{
    void *at =
        pages_mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

static bool make_writable(uintptr_t at, size_t bytes)
{
    return syscall(SYS_mprotect, at, bytes, PROT_READ | PROT_WRITE) == 0;
}

static size_t end_of_blocks(void)
{
    return region.bytes - slot_count() * SLOT_BYTES;
}

// Makes sure that the first `upto` bytes of the region can be used. Called with the lock held.
static bool commit_upto(size_t upto)
{
    size_t step, want;

    if (upto <= space.committed)
        return true;
    step = upto - space.committed;
    step = (step + COMMIT_STEP_BYTES - 1) & ~(COMMIT_STEP_BYTES - 1);
    if (step > end_of_blocks() - space.committed)
        step = end_of_blocks() - space.committed;
    want = space.committed + step;
    if (!make_writable((uintptr_t)region.map + MAP_BYTES_PER(space.committed), MAP_BYTES_PER(step)))
        return false;
    if (!make_writable(region.base + space.committed, step))
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
    if (!__builtin_add_overflow(start - region.base, bytes, &end) && end <= end_of_blocks() &&
        commit_upto(end)) {
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
        *commit = false; // so that jemalloc tells when it begins to use the pages
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

// Where no page is left there is no block: the entries read as zero again, 8 KiB for each MiB. A
// second free of what was there then passes for one of an address that never was a block's, which
// small purges are not worth.
static void forget(uintptr_t at, size_t bytes)
{
    if (bytes < FORGET_BYTES)
        return;

    uintptr_t first = ((uintptr_t)region_entry_at((void *)at) + 4095) & ~(uintptr_t)4095;
    uintptr_t end = (uintptr_t)region_entry_at((void *)(at + bytes)) & ~(uintptr_t)4095;
    int saved = errno;

    pages_madvise((void *)first, end - first, MADV_DONTNEED);
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
    // A huge page of the map would describe 256 MiB of blocks: it is sparse, keep it so.
    pages_madvise(region.map, MAP_BYTES_PER(region.bytes), MADV_NOHUGEPAGE);
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
    size_t bytes;
    char *at = NULL;

    // Map and blocks are one reservation, so that neither can be had without the other.
    for (bytes = wanted_bytes(); bytes >= REGION_MIN_BYTES; bytes /= 2) {
        at = map_none(bytes + MAP_BYTES_PER(bytes) + align);
        if (at)
            break;
    }
    if (!at)
        return -ENOMEM;
    region.map = (struct entry *)at;
    // The map can be read from one end to the other, so that any address can be looked up; what is
    // not writable costs nothing.
    if (mprotect(at, MAP_BYTES_PER(bytes), PROT_READ) != 0)
        goto fail;
    region.base = ((uintptr_t)at + MAP_BYTES_PER(bytes) + align - 1) & ~(align - 1);
    region.bytes = bytes;
    region.map_of_zero = (uintptr_t)region.map - (region.base >> 10) * sizeof(struct entry);
    space.used = 4096; // unit 0 is never a block
    advise_kernel(thp);
    if (commit_upto(space.used) && create_arena() == 0) {
        region.map->link = UINT32_MAX; // 0 would make the region's first address a live block
        return 0;
    }
fail:
    pages_munmap(at, bytes + MAP_BYTES_PER(bytes) + align);
    region = (struct region){0};
    return -ENOMEM;
}

static void *slot_new(void)
{
    uint32_t taken = atomic_load(&slots_taken), slot;

    do {
        if (taken == (1u << slot_count()) - 1)
            return NULL;
        slot = (uint32_t)__builtin_ctz(~taken);
    } while (!atomic_compare_exchange_weak(&slots_taken, &taken, taken | 1u << slot));

    char *ptr = (char *)region.base + end_of_blocks() + slot * SLOT_BYTES;
    struct entry *e = region_entry_at(ptr);
    uintptr_t map_page = (uintptr_t)e & ~(uintptr_t)4095;
    if (!make_writable((uintptr_t)ptr, SLOT_BYTES) || !make_writable(map_page, 4096)) {
        atomic_fetch_and(&slots_taken, ~(1u << slot));
        return NULL;
    }
    e->class = SIZE_CLASS_SIGNAL;
    e->link = (uint32_t)region_unit(ptr);
    return ptr;
}

static void slot_delete(uint32_t unit)
{
    uintptr_t ptr = (uintptr_t)region_address(unit);
    size_t slot = (ptr - region.base - end_of_blocks()) / SLOT_BYTES;

    region_entry(unit)->link = 0;
    pages_madvise((void *)ptr, SLOT_BYTES, MADV_DONTNEED);
    atomic_fetch_and(&slots_taken, ~(1u << slot));
}

// Leaves a block to the next call that is not in a signal handler.
static void defer(uint32_t unit)
{
    uint32_t head = atomic_load(&deferred);

    do
        region_entry(unit)->link = head;
    while (!atomic_compare_exchange_weak(&deferred, &head, unit));
}

static void delete_now(uint32_t unit)
{
    struct entry *e = region_entry(unit);
    uintptr_t ptr = (uintptr_t)region_address(unit);

    e->link = 0;
    if (unlikely(e->class >= SIZE_CLASS_RUN)) {
        atomic_fetch_sub_explicit(&space.run_bytes, je_sallocx((void *)ptr, 0),
                                  memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&space.released[e->class], 1, memory_order_relaxed);
        if (size_class_is_coloured(e->class))
            ptr &= ~(uintptr_t)4095;
    }
    je_dallocx((void *)ptr, JE_TCACHE_NONE);
}

void region_enter(void)
{
    inside = 1;
    atomic_signal_fence(memory_order_seq_cst);
}

bool region_entered(void)
{
    return inside;
}

void region_leave(void)
{
    uint32_t unit = 0;

    if (unlikely(atomic_load_explicit(&deferred, memory_order_relaxed)))
        unit = atomic_exchange(&deferred, 0);
    for (uint32_t next; unit; unit = next) {
        next = region_entry(unit)->link;
        delete_now(unit);
    }
    atomic_signal_fence(memory_order_seq_cst);
    inside = 0;
}

// Which cache line behind the page a coloured block begins on: as its place in the region has it,
// so that neighbours differ, and the offset is known again when the block goes back.
static uintptr_t colour_of(uintptr_t run)
{
    return ((run >> 12) * 7 & 15) * 64;
}

static char *run_new(size_t bytes, unsigned alignment_lg, bool zero)
{
    int flags = JE_ARENA(region.arena) | JE_TCACHE_NONE | (zero ? JE_ZERO : 0);
    char *ptr;

    // Above its slabs jemalloc may offset a block inside its first page; we promise alignment.
    if (bytes >= SIZE_CLASS_FIRST_COLOURED_BYTES && alignment_lg < 12)
        alignment_lg = 12;
    flags |= JE_ALIGN_LG(alignment_lg);
    region_enter();
    ptr = je_mallocx(bytes, flags);
    // jemalloc takes its first arena instead of the one that is named while it sets a thread up,
    // and after it has torn it down.
    if (ptr && !region_holds(ptr)) {
        je_dallocx(ptr, JE_TCACHE_NONE);
        ptr = NULL;
    }
    region_leave();
    return ptr;
}

void *region_block_new(unsigned class, bool zero)
{
    int saved = errno;
    char *ptr;

    if (unlikely(inside)) {
        ptr = slot_new();
        errno = saved;
        return ptr;
    }
    ptr = run_new(size_class_run_bytes(class), 0, zero);
    errno = saved;
    if (!ptr)
        return NULL;
    if (size_class_is_coloured(class))
        ptr += colour_of((uintptr_t)ptr);
    struct entry *e = region_entry_at(ptr);
    e->class = (uint8_t) class;
    e->link = (uint32_t)region_unit(ptr);
    region_set_note(ptr, 0);
    atomic_fetch_add_explicit(&space.created[class], 1, memory_order_relaxed);
    return ptr;
}

// What the entry of a run says about its size.
static unsigned run_class(size_t size, unsigned class)
{
    if (size < SIZE_CLASS_MIN_BYTES)
        return SIZE_CLASS_RUN + (unsigned)((je_nallocx(size ? size : 1, 0) + 15) / 16);
    return class && size_class_is_coloured(class) ? SIZE_CLASS_RUN_COLOURED : SIZE_CLASS_RUN;
}

void *region_run_new(size_t size, size_t alignment, bool zero, unsigned class)
{
    unsigned marked = run_class(size, class);
    // No smaller than a block, so that each start has an entry.
    size_t bytes = size < SIZE_CLASS_MIN_BYTES ? SIZE_CLASS_MIN_BYTES : size;
    int saved = errno;
    char *ptr;

    if (!region.bytes || inside || size > region.bytes)
        return NULL;
    if (marked == SIZE_CLASS_RUN_COLOURED)
        bytes = size_class_run_bytes(class);
    ptr = run_new(bytes, (unsigned)__builtin_ctzl(alignment), zero);
    errno = saved;
    if (!ptr)
        return NULL;
    struct entry *e = region_entry_at(ptr);
    e->class = (uint8_t)marked;
    e->link = ~(uint32_t)region_unit(ptr);
    region_set_note(ptr, 0);
    atomic_fetch_add_explicit(&space.run_bytes, je_sallocx(ptr, 0), memory_order_relaxed);
    return ptr;
}

size_t region_run_size(const void *ptr)
{
    unsigned marked = region_entry_at(ptr)->class;

    if (marked == SIZE_CLASS_RUN)
        return je_sallocx(ptr, 0);
    if (marked == SIZE_CLASS_RUN_COLOURED)
        return je_sallocx(ptr, 0) - SIZE_CLASS_COLOUR_BYTES;
    return (size_t)(marked - SIZE_CLASS_RUN) * 16;
}

void region_run_delete(void *ptr)
{
    region_block_delete((uint32_t)region_unit(ptr));
}

uint64_t region_run_bytes(void)
{
    return atomic_load_explicit(&space.run_bytes, memory_order_relaxed);
}

void region_block_trim(void *ptr, size_t size)
{
    size_t run = size_class_run_bytes(region_entry_at(ptr)->class);
    uintptr_t end = ((uintptr_t)ptr & ~(uintptr_t)4095) + run;
    uintptr_t unused = ((uintptr_t)ptr + size + 4095) & ~(uintptr_t)4095;
    int saved = errno;

    // Smaller runs share their last page with the next one.
    if (run >= SIZE_CLASS_FIRST_COLOURED_BYTES && unused < end)
        pages_madvise((void *)unused, end - unused, MADV_DONTNEED);
    errno = saved;
}

void region_block_delete(uint32_t unit)
{
    int saved = errno;

    if (unlikely(region_entry(unit)->class == SIZE_CLASS_SIGNAL)) {
        slot_delete(unit);
    } else if (unlikely(inside)) {
        defer(unit);
    } else {
        region_enter();
        delete_now(unit);
        region_leave();
    }
    errno = saved;
}

uint64_t region_created(unsigned class)
{
    return atomic_load_explicit(&space.created[class], memory_order_relaxed);
}

uint64_t region_released(unsigned class)
{
    return atomic_load_explicit(&space.released[class], memory_order_relaxed);
}

void region_purge(void)
{
    static size_t mib[3];
    static size_t len; // set last; a race writes the same values twice
    int saved = errno;

    if (!len) {
        size_t n = array_len(mib);
        if (je_mallctlnametomib("arena.0.purge", mib, &n))
            return;
        mib[1] = region.arena;
        len = n;
    }
    region_enter();
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
