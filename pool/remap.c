#include "pool/remap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/je.h"
#include "pool/mappings.h"
#include "pool/pages.h"
#include "pool/region.h"
#include "shim/base.h"
#include "shim/next.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

// A fork copies each mapping, and some systems allow a million.
#define MAPPINGS_MOST 16384

// Either end of a move may split a mapping in three.
#define MAPPINGS_PER_MOVE 4

// Asked so often in vain, it is counted again.
#define RETRY 4096

static _Atomic bool allowed, forked;
static _Atomic int64_t mappings_left; // below 0: none, for so many questions more
static _Atomic uint64_t moved_bytes;

// Who is at it, and with what. Not thread-local: of that there are 64 bytes for all of us.
static _Atomic pthread_t owner; // 0: nobody, which is nobody's number
static _Atomic(struct remap *) current;

void remap_allow(void)
{
    atomic_store_explicit(&allowed, true, memory_order_relaxed);
}

uint64_t remap_bytes(void)
{
    return atomic_load_explicit(&moved_bytes, memory_order_relaxed);
}

void remap_postfork_parent(void)
{
    atomic_store_explicit(&forked, true, memory_order_relaxed);
}

// Whoever was at it is another thread, and not there.
void remap_postfork_child(void)
{
    remap_postfork_parent();
    remap_end();
}

bool remap_begin(struct remap *r)
{
    pthread_t nobody = 0;

    if (!atomic_compare_exchange_strong(&owner, &nobody, pthread_self()))
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

static long move(uintptr_t from, size_t size, uintptr_t to)
{
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

    return (long)next_own_mremap((void *)from, size, size, flags, (void *)to);
}

static bool kernel_moves(void)
{
    const size_t page = 4096;
    void *at =
        pages_mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return false;
    uintptr_t from = (uintptr_t)at, to = from + page;
    bool moves = move(from, page, to) == (long)to;
    pages_munmap(at, 2 * page);
    return moves;
}

// One thread counts, others go without meanwhile.
static bool count_again(void)
{
    int64_t left = 0;

    if (!atomic_compare_exchange_strong(&mappings_left, &left, -RETRY))
        return false;
    long max = mappings_max(), now = mappings_count();
    if (max < 0 || now < 0 || mappings_locked() || !kernel_moves()) {
        atomic_store_explicit(&allowed, false, memory_order_relaxed);
        return false;
    }
    max = max / 4 < MAPPINGS_MOST ? max / 4 : MAPPINGS_MOST;
    if (max - now < 16 * MAPPINGS_PER_MOVE)
        return false;
    atomic_store_explicit(&mappings_left, max - now, memory_order_relaxed);
    return true;
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

// What is moved counts twice against a limit of address space for a moment, and where that, or
// memory that is all accounted for, does not suffice, the kernel has unmapped the target already.
bool remap_usable(void)
{
    struct rlimit as;
    int saved = errno;

    if (!atomic_load_explicit(&allowed, memory_order_relaxed) || !pages_overcommit())
        return false;
    bool usable = getrlimit(RLIMIT_AS, &as) == 0 && as.rlim_cur == RLIM_INFINITY && have_mappings();
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
// unless another thread was faster; if it is not, that looks the same from here.
static void give_up(struct remap *r, uintptr_t at, size_t size)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *again = pages_mmap((void *)at, size, PROT_READ | PROT_WRITE, flags, -1, 0);

    atomic_store_explicit(&allowed, false, memory_order_relaxed);
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

size_t remap_take(uintptr_t at, size_t size)
{
    struct remap *r = own();
    uintptr_t to, end;

    if (likely(!r))
        return 0;
    // A signal handler may purge, too, in the middle of this: at worst its pages are lost.
    to = r->to, end = r->end;
    if (size < REMAP_MIN_BYTES || end - to < REMAP_MIN_BYTES)
        return 0;
    if (size > end - to)
        size = end - to;
    int saved = errno;
    if (is_shared(r, at, size)) {
        errno = saved;
        return 0;
    }
    if (move(at, size, to) != (long)to) {
        give_up(r, to, size);
        errno = saved;
        return 0;
    }
    r->to = to + size;
    use_mappings(MAPPINGS_PER_MOVE);
    atomic_fetch_add_explicit(&moved_bytes, size, memory_order_relaxed);
    return size;
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

    region_enter();
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
    region_leave();
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
        r->pagemap = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    // The pools' pages lie in the larger pieces.
    pages_limit_purge(end - begin);
    if (source != REMAP_OTHERS)
        region_purge();
    if (source != REMAP_POOLS)
        purge(r, source == REMAP_ANY);
    pages_limit_purge(UINT64_MAX);
    if (r->pagemap >= 0)
        syscall(SYS_close, r->pagemap);
    errno = saved;
    return r->to - begin;
}
