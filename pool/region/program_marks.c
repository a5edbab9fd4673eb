#include "pool/region/program_marks.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "pool/region/region.h"

// Newer than the headers of some systems that we are built on.
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 // Linux 6.13
#endif

static _Atomic bool keys_used;

static bool in_region(uintptr_t at, uintptr_t end)
{
    return at < region.base + region_bytes() && end > region.base;
}

static bool whole_pages(const void *addr, size_t length, uintptr_t *at, uintptr_t *end)
{
    *at = (uintptr_t)addr & ~(uintptr_t)4095;
    if (__builtin_add_overflow((uintptr_t)addr, length, end) || *end > UINTPTR_MAX - 4095)
        return false;
    *end = (*end + 4095) & ~(uintptr_t)4095;
    return true;
}

// Leaves of [*at, *end) what lies between the first and the last address of the heap.
static void cut(uintptr_t *at, uintptr_t *end)
{
    uintptr_t low, high, size = region_bytes();

    marks_heap_bounds(&low, &high);
    low = size && region.base < low ? region.base : low;
    high = size && region.base + size > high ? region.base + size : high;
    *at = *at > low ? *at : low;
    *end = *end < high ? *end : high;
}

static uintptr_t border(uintptr_t at, unsigned lg, uintptr_t end)
{
    uintptr_t next = ((at >> lg) + 1) << lg;

    return next < end ? next : end;
}

// May the pages from `at` to *next be the heap's? Where none are, programs reserve terabytes, and
// steps are longer.
static bool may_be_heap(uintptr_t at, uintptr_t end, uintptr_t *next)
{
    *next = border(at, MARKS_NEAR_LG, end);
    if (!marks_heap_is_near(at) && !in_region(at, *next))
        return false;
    *next = border(at, MARKS_CHUNK_LG, end);
    return marks_may_be_heap(at) || in_region(at, *next);
}

// Of those pages that may be the heap's; false where none are.
static bool change_heap(const void *addr, size_t length, unsigned on, unsigned off)
{
    uintptr_t at, end, next;
    bool any = false;

    if (!whole_pages(addr, length, &at, &end))
        return false;
    cut(&at, &end);
    for (; at < end; at = next) {
        uintptr_t to = next = at;
        for (; to < end && may_be_heap(to, end, &next); to = next)
            any = true;
        marks_change(at, to, on, off);
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
