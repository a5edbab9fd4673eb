#include "pool/common/marks.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/common/pages.h"
#include "shim/base.h"

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
#define CHUNKS ((size_t)1 << 15)
static _Atomic uint64_t heap_chunks[CHUNKS / 64];
// All of them lie in between.
static _Atomic uintptr_t heap_low = UINTPTR_MAX, heap_high;

int marks_huge_advice = MADV_NORMAL;
_Atomic bool marks_were_made;
static _Atomic bool all_locked;

static void widen(uintptr_t at, uintptr_t end)
{
    uintptr_t low = atomic_load(&heap_low), high = atomic_load(&heap_high);

    while (at < low && !atomic_compare_exchange_weak(&heap_low, &low, at))
        ;
    while (end > high && !atomic_compare_exchange_weak(&heap_high, &high, end))
        ;
}

void marks_heap_bounds(uintptr_t *low, uintptr_t *high)
{
    *low = atomic_load(&heap_low);
    *high = atomic_load(&heap_high);
}

void marks_heap_has(uintptr_t at, size_t size)
{
    widen(at, at + size);
    uintptr_t first = at >> MARKS_CHUNK_LG, last = (at + size - 1) >> MARKS_CHUNK_LG;

    if (last - first >= CHUNKS)
        last = first + CHUNKS - 1;
    for (uintptr_t chunk = first; chunk <= last; chunk++)
        atomic_fetch_or_explicit(&heap_chunks[chunk % CHUNKS / 64], UINT64_C(1) << chunk % 64,
                                 memory_order_relaxed);
}

// Of the 64 chunks in a row, aligned, of which this is one.
static uint64_t chunks_around(uintptr_t chunk)
{
    return atomic_load_explicit(&heap_chunks[chunk % CHUNKS / 64], memory_order_relaxed);
}

bool marks_may_be_heap(uintptr_t at)
{
    uintptr_t chunk = at >> MARKS_CHUNK_LG;

    return chunks_around(chunk) >> chunk % 64 & 1;
}

bool marks_heap_is_near(uintptr_t at)
{
    return chunks_around(at >> MARKS_CHUNK_LG) != 0;
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

unsigned marks_change(uintptr_t at, uintptr_t end, unsigned on, unsigned off)
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
           marks_change(at, at + size, 0, 0) != 0;
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
    unsigned marks = marks_change(at, end, 0, 0);

    if (take_off(at, end - at, marks))
        marks_change(at, end, 0, marks);
}

// The end of the pages from `at` on that all have marks, or all have none.
static uintptr_t end_of_run(uintptr_t at, uintptr_t end, bool marked)
{
    for (uintptr_t next; at < end; at = next) {
        next = end_of_table(at, end);
        page_marks *m = find(at, false);
        if (!m && marked)
            return at;
        for (size_t i = 0; m && i < (next - at) >> 12; i++)
            if ((atomic_load_explicit(&m[i], memory_order_relaxed) != 0) != marked)
                return at + (i << 12);
    }
    return end;
}

void marks_take_off(uintptr_t at, size_t size)
{
    int saved = errno;
    uintptr_t end = at + size;

    if (likely(!atomic_load_explicit(&marks_were_made, memory_order_relaxed)))
        return;
    while ((at = end_of_run(at, end, false)) < end) {
        uintptr_t first = at;
        at = end_of_run(at, end, true);
        take_off_run(first, at);
    }
    errno = saved;
}
