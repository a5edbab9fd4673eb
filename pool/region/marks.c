#include "pool/region/marks.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/region.h"
#include "shim/base.h"

// Newer than the headers of some systems that we are built on.
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 // Linux 6.13
#endif

#define TABLE_LG 30 // of addresses for each table
#define PAGES_PER_TABLE ((size_t)1 << (TABLE_LG - 12))
#define TABLES 256u

typedef _Atomic uint8_t page_marks;

// By the address's upper bits; what is taken stays. Where there are more, they are not noted.
static struct {
    _Atomic uint64_t name; // upper bits + 1; 0: free
    page_marks *_Atomic pages;
} tables[TABLES];

// A bit for each 2 MiB of addresses where jemalloc has mapped something, by the lower bits of their
// number: 64 GiB in a row have a bit of their own each. One too many is no harm.
#define CHUNK_LG 21
#define CHUNKS ((size_t)1 << 15)
static _Atomic uint64_t heap_chunks[CHUNKS / 64];

int marks_huge_advice = MADV_NORMAL;
_Atomic bool marks_were_made;
static _Atomic bool all_locked, keys_used;

void marks_heap_has(uintptr_t at, size_t size)
{
    uintptr_t first = at >> CHUNK_LG, last = (at + size - 1) >> CHUNK_LG;

    if (last - first >= CHUNKS)
        last = first + CHUNKS - 1;
    for (uintptr_t chunk = first; chunk <= last; chunk++)
        atomic_fetch_or_explicit(&heap_chunks[chunk % CHUNKS / 64], UINT64_C(1) << chunk % 64,
                                 memory_order_relaxed);
}

static bool in_region(uintptr_t at, uintptr_t end)
{
    return at < region.base + region_bytes() && end > region.base;
}

// Of pages in one chunk.
static bool may_be_heap(uintptr_t at, uintptr_t end)
{
    uintptr_t chunk = at >> CHUNK_LG;
    uint64_t word = atomic_load_explicit(&heap_chunks[chunk % CHUNKS / 64], memory_order_relaxed);

    return word >> chunk % 64 & 1 || in_region(at, end);
}

static page_marks *new_table(page_marks *_Atomic *place)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    page_marks *none = NULL;
    void *at = pages_mmap(NULL, PAGES_PER_TABLE, PROT_READ | PROT_WRITE, flags, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    if (atomic_compare_exchange_strong(place, &none, at))
        return at;
    pages_munmap(at, PAGES_PER_TABLE);
    return none;
}

// The marks of a page; NULL where there is no table and none is wanted, or to be had.
static page_marks *find(uintptr_t page, bool make)
{
    uint64_t name = (page >> TABLE_LG) + 1;

    for (unsigned i = 0; i < TABLES; i++) {
        unsigned slot = (unsigned)(name + i) % TABLES;
        uint64_t there = atomic_load_explicit(&tables[slot].name, memory_order_acquire);
        if (!there && !make)
            return NULL;
        if (!there && atomic_compare_exchange_strong(&tables[slot].name, &there, name))
            there = name;
        if (there != name)
            continue;
        page_marks *table = atomic_load_explicit(&tables[slot].pages, memory_order_acquire);
        if (!table && make)
            table = new_table(&tables[slot].pages);
        return table ? &table[page >> 12 & (PAGES_PER_TABLE - 1)] : NULL;
    }
    return NULL;
}

// Where the pages end that have their marks in one table.
static uintptr_t end_of_table(uintptr_t at, uintptr_t end)
{
    uintptr_t border = ((at >> TABLE_LG) + 1) << TABLE_LG;

    return end < border ? end : border;
}

// Removes `off` from each page's marks, adds `on`; returns all that were there.
static unsigned change(uintptr_t at, uintptr_t end, unsigned on, unsigned off)
{
    unsigned were = 0;

    for (uintptr_t next; at < end; at = next) {
        next = end_of_table(at, end);
        page_marks *m = find(at, on != 0);
        for (size_t i = 0; m && i < (next - at) >> 12; i++) {
            uint8_t old = atomic_load_explicit(&m[i], memory_order_relaxed);
            were |= old;
            if (on & ~old)
                atomic_fetch_or_explicit(&m[i], (uint8_t)on, memory_order_relaxed);
            if (old & off)
                atomic_fetch_and_explicit(&m[i], (uint8_t)~off, memory_order_relaxed);
        }
    }
    return were;
}

bool marks_any(uintptr_t at, size_t size)
{
    return unlikely(atomic_load_explicit(&marks_were_made, memory_order_relaxed)) &&
           change(at, at + size, 0, 0) != 0;
}

static bool whole_pages(const void *addr, size_t length, uintptr_t *at, uintptr_t *end)
{
    *at = (uintptr_t)addr & ~(uintptr_t)4095;
    if (__builtin_add_overflow((uintptr_t)addr, length, end) || *end > UINTPTR_MAX - 4095)
        return false;
    *end = (*end + 4095) & ~(uintptr_t)4095;
    return true;
}

// Of those pages that may be the heap's; false where none are.
static bool change_heap(const void *addr, size_t length, unsigned on, unsigned off)
{
    const uintptr_t chunk = (uintptr_t)1 << CHUNK_LG;
    uintptr_t at, end, next;
    bool any = false;

    if (!whole_pages(addr, length, &at, &end))
        return false;
    for (; at < end; at = next) {
        next = (at | (chunk - 1)) + 1;
        next = next < end ? next : end;
        if (likely(!may_be_heap(at, next)))
            continue;
        change(at, next, on, off);
        any = true;
    }
    return any;
}

void marks_add(const void *addr, size_t length, unsigned marks)
{
    int saved = errno;

    if (change_heap(addr, length, marks, 0)) {
        atomic_store_explicit(&marks_were_made, true, memory_order_relaxed);
        region_blocks_marked((uintptr_t)addr, (uintptr_t)addr + length);
    }
    errno = saved;
}

static void remove_marks(const void *addr, size_t length, unsigned marks)
{
    if (atomic_load_explicit(&marks_were_made, memory_order_relaxed))
        change_heap(addr, length, 0, marks);
}

// What each advice of the program's adds, and takes off.
static const struct {
    int advice;
    uint8_t on, off;
} advices[] = {
    {MADV_DONTFORK, MARKS_FORK, 0},    {MADV_DOFORK, 0, MARKS_FORK},
    {MADV_WIPEONFORK, MARKS_WIPE, 0},  {MADV_KEEPONFORK, 0, MARKS_WIPE},
    {MADV_MERGEABLE, MARKS_MERGE, 0},  {MADV_UNMERGEABLE, 0, MARKS_MERGE},
    {MADV_HUGEPAGE, MARKS_HUGE, 0},    {MADV_NOHUGEPAGE, MARKS_HUGE, 0},
    {MADV_DONTDUMP, MARKS_OTHER, 0},   {MADV_RANDOM, MARKS_OTHER, 0},
    {MADV_SEQUENTIAL, MARKS_OTHER, 0}, {MADV_GUARD_INSTALL, MARKS_OTHER, 0},
};

void marks_on_madvise(const void *addr, size_t length, int advice, bool ok)
{
    for (unsigned i = 0; i < array_len(advices); i++) {
        if (advices[i].advice != advice)
            continue;
        if (advices[i].on)
            marks_add(addr, length, advices[i].on);
        else if (ok)
            remove_marks(addr, length, advices[i].off);
        return;
    }
}

void marks_on_protect(const void *addr, size_t length, int prot, int key, bool ok)
{
    if (key > 0)
        atomic_store_explicit(&keys_used, true, memory_order_relaxed);
    if (prot != (PROT_READ | PROT_WRITE) || key > 0)
        marks_add(addr, length, MARKS_PROTECTED);
    // Without a key, mprotect() leaves the one that there is.
    else if (ok && (key == 0 || !atomic_load_explicit(&keys_used, memory_order_relaxed)))
        remove_marks(addr, length, MARKS_PROTECTED);
}

void marks_on_lock(const void *addr, size_t length, bool lock, bool ok)
{
    if (lock)
        marks_add(addr, length, MARKS_LOCKED);
    else if (ok)
        remove_marks(addr, length, MARKS_LOCKED);
}

void marks_on_lock_all(bool lock)
{
    atomic_store_explicit(&all_locked, lock, memory_order_relaxed);
}

void marks_postfork_child(void)
{
    atomic_store_explicit(&all_locked, false, memory_order_relaxed);
}

// What the heap itself does to pages when it maps them.
static void advise_as_heap(uintptr_t at, size_t size)
{
    if (marks_huge_advice != MADV_NORMAL)
        pages_madvise((void *)at, size, marks_huge_advice);
    if (pages_merge)
        pages_madvise((void *)at, size, MADV_MERGEABLE);
    if (atomic_load_explicit(&all_locked, memory_order_relaxed))
        syscall(SYS_mlock, at, size);
}

// New pages in place of the old ones, or of those that a child lacks, have no mark of any kind. To
// undo each kind takes a call of its own, keeps guards and keys in part, and makes merged pages
// single ones first. Caches of registered memory hear that the old ones are gone.
static bool take_off(uintptr_t at, size_t size, unsigned marks)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

    // Large arrays are marked so, and their pages are worth keeping.
    if (marks != MARKS_HUGE &&
        pages_mmap((void *)at, size, PROT_READ | PROT_WRITE, flags, -1, 0) != (void *)at)
        return false;
    advise_as_heap(at, size);
    return true;
}

// Of pages in a row with any marks.
static void take_off_run(uintptr_t at, uintptr_t end)
{
    unsigned marks = change(at, end, 0, 0);

    if (take_off(at, end - at, marks))
        change(at, end, 0, marks);
}

void marks_take_off(uintptr_t at, size_t size)
{
    int saved = errno;
    uintptr_t end = at + size, first = 0;

    if (likely(!marks_any(at, size)))
        return;
    for (; at < end; at += 4096) {
        bool marked = change(at, at + 4096, 0, 0) != 0;
        if (marked && !first)
            first = at;
        if (!marked && first) {
            take_off_run(first, at);
            first = 0;
        }
    }
    if (first)
        take_off_run(first, end);
    errno = saved;
}
