#include "mfile/calls.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "mfile/advise.h"
#include "mfile/record/record.h"
#include "mfile/rules.h"
#include "mfile/worker.h"
#include "shim/base.h"
#include "shim/next.h"

static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "the kernel takes offsets in bytes");

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

_Atomic unsigned calls_on;
void (*calls_on_file)(uint64_t bytes);

static unsigned on(void)
{
    return atomic_load_explicit(&calls_on, memory_order_relaxed);
}

void calls_switch_on(unsigned what)
{
    atomic_fetch_or(&calls_on, what);
}

void calls_switch_off(unsigned what)
{
    if (on() & what)
        atomic_fetch_and(&calls_on, ~what);
}

bool calls_records(void)
{
    return on() & CALLS_RECORD;
}

// Whole pages; false where the kernel will refuse the range.
static bool pages_of(const void *addr, size_t length, uint64_t *start, uint64_t *end)
{
    *start = (uint64_t)(uintptr_t)addr;
    return !(*start & (advise_page_bytes() - 1)) && advise_pages(*start, length, false, start, end);
}

static void note_file(unsigned what, uint64_t start, uint64_t end, int prot, int flags, int fd,
                      off_t offset)
{
    struct mapping m = {
        .start = start,
        .end = end,
        .offset = (uint64_t)offset,
        .prot = (uint8_t)prot,
        .flags = (flags & MAP_TYPE) == MAP_PRIVATE ? 0 : MAPPING_SHARED,
    };
    bool later = what & CALLS_LATER, ask = (what & CALLS_RULES) && !later;

    if (later)
        m.flags |= MAPPING_FRESH;
    if (ask)
        rules_ask(fd, &m);
    record_put(&m);
    if (calls_on_file)
        calls_on_file(end - start);
    if (ask)
        rules_give(fd, &m);
    if (later)
        worker_poke();
}

// MAP_FIXED_NOREPLACE wins where both are given.
static bool replaces(int flags)
{
    return (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED;
}

void *calls_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return calls_mmap_by(next_call.mmap, addr, length, prot, flags, fd, offset);
}

void *calls_mmap_by(calls_mmap_fn *map, void *addr, size_t length, int prot, int flags, int fd,
                    off_t offset)
{
    uint64_t start, end;
    unsigned what = on();

    if (likely(!what))
        return map(addr, length, prot, flags, fd, offset);
    bool record = what & CALLS_RECORD, anonymous = flags & MAP_ANONYMOUS;
    bool replace = record && replaces(flags) && pages_of(addr, length, &start, &end);
    if (replace) {
        record_begin();
        record_remove(start, end);
    }
    long at = (long)map(addr, length, prot, flags, fd, offset);
    if (at == -1) {
        if (replace)
            record_doubt();
    } else if (record && !anonymous && pages_of((void *)at, length, &start, &end)) {
        note_file(what, start, end, prot, flags, fd, offset);
    } else if (anonymous && (what & CALLS_MERGE) && length >= CALLS_MERGE_MIN_BYTES &&
               (flags & MAP_TYPE) == MAP_PRIVATE) {
        advise(ADVICE_MERGEABLE, (uint64_t)at, length);
    }
    if (replace)
        record_end();
    return (void *)at;
}

int calls_munmap(void *addr, size_t length)
{
    uint64_t start, end;

    if (!(on() & CALLS_RECORD) || !pages_of(addr, length, &start, &end))
        return next_call.munmap(addr, length);
    record_begin();
    record_remove(start, end);
    int result = next_call.munmap(addr, length);
    if (result != 0)
        record_doubt();
    record_end();
    return result;
}

static void *remap(void *old, size_t old_length, size_t length, int flags, void *to)
{
    uint64_t start, end = 0, to_start, to_end, number = 0;
    bool lifted = old_length != 0;

    // With an old length of 0 the mapping stays, and gets a twin.
    if (!(on() & CALLS_RECORD) || !pages_of(old, lifted ? old_length : 1, &start, &end))
        return next_call.mremap(old, old_length, length, flags, to);
    record_begin();
    if ((flags & MREMAP_FIXED) && pages_of(to, length, &to_start, &to_end))
        record_remove(to_start, to_end);
    if (lifted)
        number = record_lift(start, end);
    long at = (long)next_call.mremap(old, old_length, length, flags, to);
    if (at == -1) {
        // Only what is moved in several pieces can have come half way; the target may be gone.
        if (lifted)
            record_drop(number, start, end, start, end - start, false);
        if (flags & MREMAP_FIXED)
            record_doubt();
    } else if (pages_of((void *)at, length, &to_start, &to_end)) {
        if (lifted)
            record_drop(number, start, end, to_start, to_end - to_start, flags & MREMAP_DONTUNMAP);
        else
            record_copy(start, to_start, to_end - to_start);
    }
    record_end();
    return (void *)at;
}

// mremap takes only what is one mapping to the kernel. The hints of the worker, which come a moment
// later, may have made two of it: then all of it gets them. (Of anonymous memory that was touched
// two cannot be made one again: TIDEPOOL_KSM, which marks what is large, leaves a program that
// moves two neighbours by one call without that call.)
static bool levelled(void *old, size_t length)
{
    uint64_t start, end;
    int saved = errno;
    bool any =
        (on() & CALLS_RULES) && pages_of(old, length, &start, &end) && rules_level(start, end);

    errno = saved;
    return any;
}

void *calls_mremap(void *old, size_t old_length, size_t length, int flags, void *to)
{
    void *at = remap(old, old_length, length, flags, to);

    if (at == MAP_FAILED && errno == EFAULT && levelled(old, old_length))
        at = remap(old, old_length, length, flags, to);
    return at;
}

int calls_madvise(void *addr, size_t length, int advice)
{
    int result = next_call.madvise(addr, length, advice);

    if (result == 0)
        calls_note_advice(addr, length, advice);
    return result;
}

void calls_note_advice(void *addr, size_t length, int advice)
{
    uint64_t start, end;

    if (!(on() & CALLS_RECORD) || !pages_of(addr, length, &start, &end))
        return;
    switch (advice) {
    case MADV_WILLNEED:
    case MADV_SEQUENTIAL:
    case MADV_RANDOM:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
        record_use(start, end);
        break;
    case MADV_DONTFORK:
    case MADV_DOFORK:
        record_fork_differs();
        break;
    default:
        break;
    }
}
