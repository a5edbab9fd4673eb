#include "pool/region/remap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/common/marks.h"
#include "pool/common/pages.h"
#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/page_move.h"
#include "pool/region/region.h"
#include "pool/region/vma_limits.h"
#include "shim/base.h"
#include "shim/kernel.h"

// A fork copies each mapping, and some systems allow a million.
#define MAPPINGS_MOST 16384

// Either end of a move may split a mapping in three.
#define MAPPINGS_PER_MOVE 4

// Asked so often in vain, it is counted again.
#define RETRY 4096

// After that many moves it is asked again whether memory is locked: a system call that passes libc
// by tells nothing.
#define LOCK_MOVES 64

static _Atomic bool allowed, forked;
static _Atomic int64_t mappings_left; // below 0: none, until it was asked that many times
static _Atomic bool locks_changed = true;
static _Atomic enum page_moves kernel_moves; // PAGE_MOVES_NONE: not tried yet
static _Atomic uint64_t moves, moved_bytes;
static void (*say_off)(const char *why);

// The thread that moves pages, and its data. Not thread-local: the library has 64 bytes of that in
// all.
static _Atomic pthread_t owner; // 0: none, which is no thread's number
static _Atomic(struct remap *) current;

void remap_allow(void (*say)(const char *why))
{
    say_off = say;
    pages_moves =
        (struct pages_moves){.note = remap_note, .fills = remap_fills, .take = remap_take};
    atomic_store_explicit(&allowed, true, memory_order_relaxed);
}

// For good, with a line for the first reason.
static void switch_off(const char *why)
{
    if (atomic_exchange(&allowed, false) && say_off)
        say_off(why);
}

bool remap_enabled(void)
{
    return atomic_load_explicit(&allowed, memory_order_relaxed) && pages_overcommit() &&
           atomic_load_explicit(&mappings_left, memory_order_relaxed) >= 0;
}

void remap_locks_changed(void)
{
    atomic_store_explicit(&locks_changed, true, memory_order_relaxed);
}

uint64_t remap_bytes(void)
{
    return atomic_load_explicit(&moved_bytes, memory_order_relaxed);
}

void remap_postfork_parent(void)
{
    atomic_store_explicit(&forked, true, memory_order_relaxed);
}

// The thread that was moving pages does not exist in the child.
void remap_postfork_child(void)
{
    remap_postfork_parent();
    remap_end();
}

bool remap_begin(struct remap *r)
{
    pthread_t none = 0;

    if (!atomic_compare_exchange_strong(&owner, &none, pthread_self()))
        return false;
    atomic_store(&current, r);
    return true;
}

void remap_end(void)
{
    atomic_store(&current, NULL);
    atomic_store(&owner, (pthread_t)0);
}

// Only ever another thread's owner changes meanwhile.
static struct remap *own(void)
{
    struct remap *r = atomic_load(&current);

    return unlikely(r) && atomic_load(&owner) == pthread_self() ? r : NULL;
}

// Tried once, and not while memory is locked: then the trial's pages would be, too.
static bool kernel_can(void)
{
    enum page_moves can = atomic_load_explicit(&kernel_moves, memory_order_relaxed);

    if (can == PAGE_MOVES_NONE) {
        can = page_move_probe();
        atomic_store_explicit(&kernel_moves, can, memory_order_relaxed);
    }
    if (can == PAGE_MOVES_NONE)
        switch_off("mremap(MREMAP_DONTUNMAP) does not work here");
    return can != PAGE_MOVES_NONE;
}

// One thread counts, others go without meanwhile.
static bool count_again(void)
{
    int64_t left = 0;

    if (!atomic_compare_exchange_strong(&mappings_left, &left, -RETRY))
        return false;
    long max = vma_max(), now = vma_count();
    if (max < 0 || now < 0) {
        switch_off("/proc does not tell how many mappings there are");
        return false;
    }
    if (vma_locked() || !kernel_can())
        return false;
    max = max / 4 < MAPPINGS_MOST ? max / 4 : MAPPINGS_MOST;
    if (max - now < 16 * MAPPINGS_PER_MOVE)
        return false;
    atomic_store_explicit(&mappings_left, max - now, memory_order_relaxed);
    return true;
}

// Locked ranges are checked again; where none is left, mappings are counted again.
static void heed_locks(void)
{
    if (likely(!atomic_load_explicit(&locks_changed, memory_order_relaxed)) ||
        !atomic_exchange(&locks_changed, false))
        return;
    int64_t left = atomic_load_explicit(&mappings_left, memory_order_relaxed);
    if (vma_locked())
        atomic_store_explicit(&mappings_left, -RETRY, memory_order_relaxed);
    else if (left < 0)
        atomic_compare_exchange_strong(&mappings_left, &left, 0);
}

static bool have_mappings(void)
{
    int64_t left = atomic_load_explicit(&mappings_left, memory_order_relaxed);

    if (left > 0)
        return true;
    if (left < 0)
        left = atomic_fetch_add_explicit(&mappings_left, 1, memory_order_relaxed) + 1;
    return left == 0 && count_again();
}

static void use_mappings(int64_t n)
{
    int64_t left = atomic_load_explicit(&mappings_left, memory_order_relaxed);

    while (left > 0 &&
           !atomic_compare_exchange_weak(&mappings_left, &left, left > n ? left - n : 0))
        ;
}

static bool is_unlimited(__rlimit_resource_t resource)
{
    struct rlimit limit;

    return getrlimit(resource, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

// What is moved counts twice against limits of address space and data for a moment, and where that,
// or memory that is all accounted for, does not suffice, the kernel has unmapped the target
// already.
bool remap_usable(void)
{
    int saved = errno;

    if (!atomic_load_explicit(&allowed, memory_order_relaxed) || !pages_overcommit())
        return false;
    heed_locks();
    bool usable = is_unlimited(RLIMIT_AS) && is_unlimited(RLIMIT_DATA) && have_mappings();
    errno = saved;
    return usable;
}

bool remap_note(uintptr_t at, size_t size)
{
    struct remap *r = own();

    if (likely(!r) || r->fresh_end || size < REMAP_MIN_BYTES)
        return false;
    r->fresh = at;
    r->fresh_end = at + size;
    return true;
}

// After a move that failed, which none should. If the target is unmapped it can be had again,
// unless another thread was faster. If it is still mapped, the two cases cannot be told apart.
static void give_up(struct remap *r, uintptr_t at, size_t size)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *again = pages_mmap((void *)at, size, PROT_READ | PROT_WRITE, flags, -1, 0);

    switch_off("a move failed");
    r->end = at;
    r->lost = again != (void *)at;
    if (r->lost && again != MAP_FAILED)
        pages_munmap(again, size);
}

// Bits of an entry of /proc/self/pagemap.
#define PAGE_EXCLUSIVE (UINT64_C(1) << 56)
#define PAGE_PRESENT (UINT64_C(1) << 63)

// Three pages speak for all: what was freed together was written to together, as a rule.
static bool is_shared(const struct remap *r, uintptr_t at, size_t size)
{
    const uintptr_t pages[] = {at / 4096, (at + size / 2) / 4096, (at + size - 1) / 4096};

    if (!atomic_load_explicit(&forked, memory_order_relaxed))
        return false;
    for (unsigned i = 0; i < array_len(pages); i++) {
        uint64_t entry;
        if (syscall(SYS_pread64, r->pagemap, &entry, sizeof entry, pages[i] * sizeof entry) !=
                sizeof entry ||
            ((entry & PAGE_PRESENT) && !(entry & PAGE_EXCLUSIVE)))
            return true;
    }
    return false;
}

bool remap_fills(void)
{
    const struct remap *r = own();

    return r && r->to;
}

static bool take_piece(struct remap *r, uintptr_t at, size_t size)
{
    if (marks_any(at, size) || is_shared(r, at, size))
        return false;
    // A signal handler may purge, too, in the middle of this: at worst its pages are lost.
    if (!page_move(at, size, r->to)) {
        give_up(r, r->to, size);
        return false;
    }
    r->to += size;
    use_mappings(MAPPINGS_PER_MOVE);
    if (atomic_fetch_add_explicit(&moves, 1, memory_order_relaxed) % LOCK_MOVES == LOCK_MOVES - 1)
        remap_locks_changed();
    atomic_fetch_add_explicit(&moved_bytes, size, memory_order_relaxed);
    return true;
}

// The whole where the kernel moves pages of several mappings at once. Few bytes are not worth the
// questions.
static size_t next_piece(uintptr_t at, size_t size)
{
    if (size < REMAP_MIN_BYTES)
        return 0;
    if (atomic_load_explicit(&kernel_moves, memory_order_relaxed) == PAGE_MOVES_SEVERAL)
        return size;
    return page_move_in_one_mapping(at, size);
}

static size_t room(const struct remap *r, size_t size)
{
    return size < r->end - r->to ? size : r->end - r->to;
}

size_t remap_take(uintptr_t at, size_t size)
{
    struct remap *r = own();
    size_t moved = 0, piece;
    int saved = errno;

    if (likely(!r))
        return 0;
    for (uintptr_t end = at + size; (piece = next_piece(at, room(r, end - at))); at += piece)
        if (piece >= REMAP_MIN_BYTES && take_piece(r, at, piece))
            moved += piece;
    errno = saved;
    return moved;
}

static bool has_place(const struct remap *r)
{
    return r->end - r->to >= REMAP_MIN_BYTES;
}

// All arenas at once, or one after the other but the pools'. Those that were never used refuse.
static void purge(const struct remap *r, bool all)
{
    unsigned arenas = 1;
    size_t mib[3], mib_len = array_len(mib), len = sizeof arenas;

    guard_enter();
    if (!all)
        je_mallctl("arenas.narenas", &arenas, &len, NULL, 0);
    if (je_mallctlnametomib("arena.0.purge", mib, &mib_len))
        arenas = 0;
    for (unsigned i = 0; i < arenas && has_place(r); i++) {
        mib[1] = all ? JE_ARENAS_ALL : i;
        if (mib[1] == region.arena)
            continue;
        pages_limit_purge(r->end - r->to);
        je_mallctlbymib(mib, mib_len, NULL, NULL, NULL, 0);
    }
    guard_leave();
}

size_t remap_fill(struct remap *r, uintptr_t begin, uintptr_t end, enum remap_source source)
{
    const uintptr_t page = 4096;
    int saved = errno;

    if (begin < r->fresh)
        begin = r->fresh;
    if (end > r->fresh_end)
        end = r->fresh_end;
    begin = (begin + page - 1) & -page;
    end &= -page;
    if (begin >= end || end - begin < REMAP_MIN_BYTES)
        return 0;
    r->to = begin;
    r->end = end;
    r->pagemap = -1;
    // Not by libc's calls, which are places where a thread may be cancelled.
    if (atomic_load_explicit(&forked, memory_order_relaxed))
        r->pagemap = kernel_open("/proc/self/pagemap", O_RDONLY);
    // The pools' pages lie in the larger pieces.
    pages_limit_purge(end - begin);
    if (source != REMAP_OTHERS)
        region_purge();
    if (source != REMAP_POOLS)
        purge(r, source == REMAP_ANY);
    pages_limit_purge(UINT64_MAX);
    if (r->pagemap >= 0)
        kernel_close(r->pagemap);
    errno = saved;
    return r->to - begin;
}
