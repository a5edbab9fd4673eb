#include "pool/region/region.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/common/guard.h"
#include "pool/common/je.h"
#include "pool/common/marks.h"
#include "pool/common/pages.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/region/holes.h"

static _Atomic bool noted; // there may be notes

static struct {
    _Atomic uint64_t created[SIZE_CLASS_END], released[SIZE_CLASS_END];
    _Atomic uint64_t run_bytes;
} counts;

struct range {
    uintptr_t at, end;
};

// The whole pages of a pooled block, which it shares with no other one.
static struct range own_pages(uintptr_t ptr, unsigned class)
{
    uintptr_t begin = size_class_is_coloured(class) ? ptr & ~(uintptr_t)4095 : ptr;

    return (struct range){(begin + 4095) & ~(uintptr_t)4095,
                          (begin + size_class_run_bytes(class)) & ~(uintptr_t)4095};
}

// The live block, sampled or not, that begins in the KiB of an entry; 0 for none.
static uintptr_t live_block_at(uintptr_t kib, uint8_t class, uint8_t state)
{
    uintptr_t ptr = kib + (uintptr_t)(state & 15) * 64;

    if (!class || class >= SIZE_CLASS_RUN || state != (uint8_t)region_unit((void *)ptr))
        return 0;
    return ptr;
}

static void mark_block(uintptr_t kib, struct range marked)
{
    struct entry *e = region_entry_at((void *)kib);
    uint8_t state = __atomic_load_n(&e->state, __ATOMIC_RELAXED);
    uintptr_t ptr = live_block_at(kib, e->class, state);

    if (!ptr)
        return;
    struct range own = own_pages(ptr, e->class);
    if (own.at < marked.end && own.end > marked.at && own.at < own.end)
        __atomic_compare_exchange_n(&e->state, &state, state ^ REGION_SAMPLED, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void region_blocks_marked(uintptr_t at, uintptr_t end)
{
    uintptr_t first = region.base + REGION_FIRST_BLOCK_BYTES, last = region.base + region_bytes();
    uintptr_t kib = at - 2 * SIZE_CLASS_MAX_BYTES; // no block that reaches into it begins before

    if (!region_bytes() || at >= last || end <= first)
        return;
    if (kib < first || kib > at)
        kib = first;
    for (; kib < end && kib < last; kib += 1024)
        mark_block(kib, (struct range){at, end});
}

static void take_marks_off(uintptr_t ptr, unsigned class)
{
    struct range own = own_pages(ptr, class);

    if (own.at < own.end)
        marks_take_off(own.at, own.end - own.at);
}

static void delete_now(uint32_t unit)
{
    struct entry *e = region_entry(unit);
    uintptr_t ptr = (uintptr_t)region_address(unit);

    region_set_state(e, (uint8_t)unit ^ REGION_RELEASED);
    if (unlikely(e->class >= SIZE_CLASS_RUN)) {
        atomic_fetch_sub_explicit(&counts.run_bytes, je_sallocx((void *)ptr, 0),
                                  memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&counts.released[e->class], 1, memory_order_relaxed);
        if (size_class_run_bytes(e->class) < SIZE_CLASS_FIRST_COLOURED_BYTES)
            holes_expect(ptr, ptr + size_class_run_bytes(e->class));
        if (unlikely(atomic_load_explicit(&marks_were_made, memory_order_relaxed)))
            take_marks_off(ptr, e->class);
        if (size_class_is_coloured(e->class))
            ptr &= ~(uintptr_t)4095;
    }
    je_dallocx((void *)ptr, JE_TCACHE_NONE);
}

size_t region_je_size(const void *ptr)
{
    size_t bytes;

    if (guard_entered())
        return je_private_size(ptr);
    guard_pass();
    bytes = je_malloc_usable_size((void *)(uintptr_t)ptr);
    guard_leave();
    return bytes;
}

void region_free(void *ptr)
{
    if (region_holds(ptr))
        delete_now((uint32_t)region_unit(ptr));
    else
        je_free(ptr);
}

enum region_claim region_claim(const void *ptr)
{
    struct entry *e = region_entry_at(ptr);
    uint64_t live = region_live_state(region_unit(ptr));
    uint8_t state = region_state(e);

    do
        if (!e->class || (state != live && (state ^ REGION_SAMPLED) != live))
            return REGION_NOT_OUT;
    while (!__atomic_compare_exchange_n(&e->state, &state, (uint8_t)live ^ REGION_FREE, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return state == live ? REGION_LIVE : REGION_LIVE_SAMPLED;
}

// Which cache line behind the page a coloured block begins on: as its place in the region has it,
// so that neighbours differ, and the offset is known again when the block goes back. Runs of a
// class lie at multiples of its pages, so the line is taken from the upper bits of a product.
static uintptr_t colour_of(uintptr_t run)
{
    return (uintptr_t)((uint32_t)(run >> 12) * UINT32_C(0x9e3779b1) >> 28) * 64;
}

bool region_has_notes(void)
{
    return atomic_load_explicit(&noted, memory_order_relaxed);
}

void region_set_note(void *ptr, uint32_t note)
{
    *region_note_at(ptr) = note;
    atomic_store_explicit(&noted, true, memory_order_relaxed);
}

// The entry of what comes from jemalloc.
static void enter_map(char *ptr, unsigned class, size_t bytes)
{
    struct entry *e = region_entry_at(ptr);
    bool was_purged = e->class && region_kind((uintptr_t)ptr, region_state(e)) == REGION_PURGED;

    __atomic_store_n(&e->class, (uint8_t) class, __ATOMIC_RELAXED);
    __atomic_store_n(&e->state, (uint8_t)region_unit(ptr), __ATOMIC_SEQ_CST);
    holes_pass((uintptr_t)ptr, (uintptr_t)ptr + bytes);
    if (unlikely(was_purged))
        holes_refill(bytes);
    if (unlikely(region_has_notes()) && region_note(ptr))
        *region_note_at(ptr) = 0;
}

static char *run_new(size_t bytes, unsigned alignment_lg, bool zero)
{
    int flags = JE_ARENA(region.arena) | JE_TCACHE_NONE | (zero ? JE_ZERO : 0);
    char *ptr;

    // Above its slabs jemalloc may offset a block inside its first page; we promise alignment.
    if (bytes >= SIZE_CLASS_FIRST_COLOURED_BYTES && alignment_lg < 12)
        alignment_lg = 12;
    flags |= JE_ALIGN_LG(alignment_lg);
    guard_enter();
    ptr = je_mallocx(bytes, flags);
    // jemalloc takes its first arena instead of the one that is named while it sets a thread up,
    // and after it has torn it down.
    if (ptr && !region_holds(ptr)) {
        je_dallocx(ptr, JE_TCACHE_NONE);
        ptr = NULL;
    }
    guard_leave();
    return ptr;
}

void *region_block_new(unsigned class, bool zero)
{
    int saved = errno;
    char *ptr;

    if (unlikely(guard_entered()))
        return NULL;
    ptr = run_new(size_class_run_bytes(class), 0, zero);
    errno = saved;
    if (!ptr)
        return NULL;
    if (size_class_is_coloured(class))
        ptr += colour_of((uintptr_t)ptr);
    enter_map(ptr, class, size_class_run_bytes(class));
    atomic_fetch_add_explicit(&counts.created[class], 1, memory_order_relaxed);
    return ptr;
}

// What the entry of a run says about its size.
static unsigned run_class(size_t promised)
{
    if (promised >= SIZE_CLASS_MIN_BYTES)
        return SIZE_CLASS_RUN_LARGE;
    return SIZE_CLASS_RUN + (unsigned)(promised / 16);
}

void *region_run_new(size_t size, size_t alignment, bool zero)
{
    unsigned lg = (unsigned)__builtin_ctzl(alignment);
    int saved = errno;
    char *ptr;

    if (!region_bytes() || guard_entered() || size > region.max_bytes)
        return NULL;
    // What nallocx() says, which may be far more where the alignment is large.
    size_t promised = je_nallocx(size ? size : 1, JE_ALIGN_LG(lg));
    // No smaller than a block, so that each start has an entry.
    size_t bytes = promised < SIZE_CLASS_MIN_BYTES ? SIZE_CLASS_MIN_BYTES : promised;
    ptr = run_new(bytes, lg, zero);
    errno = saved;
    if (!ptr)
        return NULL;
    enter_map(ptr, run_class(promised), bytes);
    region_mark_sampled(ptr);
    guard_enter();
    atomic_fetch_add_explicit(&counts.run_bytes, je_sallocx(ptr, 0), memory_order_relaxed);
    guard_leave();
    return ptr;
}

size_t region_run_size(const void *ptr)
{
    unsigned marked = region_entry_at(ptr)->class;

    if (marked == SIZE_CLASS_RUN_LARGE)
        return region_je_size(ptr);
    return marked > SIZE_CLASS_RUN ? (size_t)(marked - SIZE_CLASS_RUN) * 16 : 8;
}

void region_run_delete(void *ptr)
{
    region_block_delete((uint32_t)region_unit(ptr));
}

uint64_t region_run_bytes(void)
{
    return atomic_load_explicit(&counts.run_bytes, memory_order_relaxed);
}

void *region_block_trim(void *ptr, size_t size)
{
    struct entry *e = region_entry_at(ptr);
    size_t run = size_class_run_bytes(e->class);
    uintptr_t begin = (uintptr_t)ptr & ~(uintptr_t)4095, end = begin + run;
    uintptr_t offset = (uintptr_t)ptr - begin, room = -size & 4095 & ~(uintptr_t)63;
    int saved = errno;

    // Smaller runs share their last page with the next one.
    if (run < SIZE_CLASS_FIRST_COLOURED_BYTES)
        return ptr;
    if (size_class_is_coloured(e->class) && offset > room) {
        ptr = (void *)(begin + room);
        region_set_state(e, (uint8_t)region_unit(ptr));
    }
    uintptr_t unused = ((uintptr_t)ptr + size + 4095) & ~(uintptr_t)4095;
    if (unused < end)
        pages_madvise((void *)unused, end - unused, MADV_DONTNEED);
    errno = saved;
    return ptr;
}

unsigned region_class_in_place(const void *ptr, size_t size)
{
    bool colour = (uintptr_t)ptr & 4095;
    size_t bytes = size + (colour ? SIZE_CLASS_COLOUR_BYTES : 0);
    unsigned class;

    if (size_class_run_bytes(region_entry_at(ptr)->class) < SIZE_CLASS_FIRST_COLOURED_BYTES ||
        bytes < SIZE_CLASS_FIRST_COLOURED_BYTES || bytes > SIZE_CLASS_MAX_BYTES)
        return 0;
    class = size_class_of(bytes);
    if (size_class_is_coloured(class))
        class -= SIZE_CLASS_COLOURED;
    return colour ? class + SIZE_CLASS_COLOURED : class;
}

bool region_block_resize(void *ptr, unsigned class)
{
    struct entry *e = region_entry_at(ptr);
    uintptr_t begin = (uintptr_t)ptr & ~(uintptr_t)4095;
    size_t bytes = size_class_run_bytes(class);
    int saved = errno;
    bool done;

    if (!region_is_live(ptr) || guard_entered() ||
        atomic_load_explicit(&marks_were_made, memory_order_relaxed))
        return false;
    guard_enter();
    done = je_xallocx((void *)begin, bytes, 0, JE_TCACHE_NONE) == bytes;
    guard_leave();
    errno = saved;
    if (!done)
        return false;
    atomic_fetch_add_explicit(&counts.released[e->class], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts.created[class], 1, memory_order_relaxed);
    __atomic_store_n(&e->class, (uint8_t) class, __ATOMIC_SEQ_CST);
    // What it has gained may have been a slab's a moment ago.
    holes_pass(begin, begin + bytes);
    return true;
}

void region_block_delete(uint32_t unit)
{
    int saved = errno;

    if (unlikely(guard_entered())) {
        region_set_state(region_entry(unit), (uint8_t)unit ^ REGION_FREE);
        guard_defer(region_address(unit));
    } else {
        guard_enter();
        delete_now(unit);
        guard_leave();
    }
    errno = saved;
}

uint64_t region_created(unsigned class)
{
    return atomic_load_explicit(&counts.created[class], memory_order_relaxed);
}

uint64_t region_released(unsigned class)
{
    return atomic_load_explicit(&counts.released[class], memory_order_relaxed);
}
