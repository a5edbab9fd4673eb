#include "mfile/range.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "mfile/calls.h"
#include "mfile/lazy.h"
#include "mfile/parse/maps.h"
#include "mfile/parse/policy.h"
#include "mfile/prefetch.h"
#include "mfile/record/record.h"
#include "shim/base.h"

static _Atomic bool opted;

// Goes over what is mapped of [at, end).
struct walk {
    uint64_t at, end; // at: how far it was mapped without a hole
    int error;        // the first
    void (*visit)(struct walk *w, const struct maps_line *line, uint64_t start, uint64_t end);
    uint64_t bytes;
};

static void note(struct walk *w, int error)
{
    if (!w->error)
        w->error = error;
}

static bool walk_line(void *arg, const struct maps_line *line)
{
    struct walk *w = arg;

    if (line->end <= w->at)
        return true;
    if (line->start >= w->end)
        return false;
    uint64_t start = line->start > w->at ? line->start : w->at;
    uint64_t end = line->end < w->end ? line->end : w->end;
    if (start > w->at)
        note(w, -ENOMEM);
    w->visit(w, line, start, end);
    w->at = end;
    return w->at < w->end;
}

static int walk(struct walk *w)
{
    int error = w->at < w->end ? maps_read(walk_line, w) : 0;

    if (error)
        return error;
    if (w->at < w->end)
        note(w, -ENOMEM);
    return w->error;
}

// The pages of a range, none where it holds none: then there is nothing to do, and nothing wrong.
// -EINVAL where it wraps.
static int pages_of(uint64_t address, uint64_t length, bool inward, uint64_t *start, uint64_t *end)
{
    uint64_t stop;

    if (__builtin_add_overflow(address, length, &stop) || stop > -advise_page_bytes())
        return -EINVAL;
    if (!advise_pages(address, length, inward, start, end))
        *end = *start;
    return 0;
}

static void free_part(struct walk *w, const struct maps_line *line, uint64_t start, uint64_t end)
{
    bool anonymous = !line->inode && !line->shared;
    uint64_t before = anonymous ? lazy_resident_bytes(start, end) : 0;
    int error = advise(anonymous ? ADVICE_FREE : ADVICE_COLD, start, end - start);

    if (error) {
        note(w, error);
        return;
    }
    w->bytes += end - start;
    // It counts as used until the kernel takes it; files come back from where they are.
    lazy_count_freed(before);
}

int range_free_lazy(uint64_t address, uint64_t length, uint64_t *bytes)
{
    struct walk w = {.visit = free_part};
    int error = pages_of(address, length, true, &w.at, &w.end);

    if (!error)
        error = walk(&w);
    if (!error)
        *bytes = w.bytes;
    return error;
}

static void prefetch_part(struct walk *w, const struct maps_line *line, uint64_t start,
                          uint64_t end)
{
    (void)w;
    if (line->inode)
        prefetch_post(start, end, 0, 0);
}

int range_prefetch(uint64_t address, uint64_t length)
{
    struct walk w = {.visit = prefetch_part};
    int error = pages_of(address, length, false, &w.at, &w.end);

    return error ? error : walk(&w);
}

static void may_remove(struct walk *w, const struct maps_line *line, uint64_t start, uint64_t end)
{
    (void)start, (void)end;
    if (!maps_is_file(line) || !line->shared || !(line->prot & PROT_WRITE))
        note(w, -EACCES);
}

int range_remove(uint64_t address, uint64_t length)
{
    struct walk w = {.visit = may_remove};
    int error = pages_of(address, length, true, &w.at, &w.end);

    if (error || w.at == w.end)
        return error;
    uint64_t start = w.at;
    error = walk(&w);
    return error ? error : advise(ADVICE_REMOVE, start, w.end - start);
}

int range_advise(enum advice advice, uint64_t address, uint64_t length)
{
    bool inward = advice == ADVICE_COLD || advice == ADVICE_PAGEOUT;
    uint64_t start, end;

    ASSERT(advice != ADVICE_FREE && advice != ADVICE_REMOVE);
    int error = pages_of(address, length, inward, &start, &end);

    return error || start == end ? error : advise(advice, start, end - start);
}

static void count_files(struct walk *w, const struct maps_line *line, uint64_t start, uint64_t end)
{
    if (maps_is_file(line))
        w->bytes += end - start;
}

// What is no file is never given up, so that to keep it is granted, and to give it up is not.
int range_opt(uint64_t address, uint64_t length, bool lazy)
{
    struct walk w = {.visit = count_files};
    int error = pages_of(address, length, lazy, &w.at, &w.end);

    if (error || w.at == w.end)
        return error;
    uint64_t start = w.at;
    error = walk(&w);
    if (lazy && !w.bytes)
        return error ? error : -EINVAL;
    // With no table there is no other thread to keep it from.
    if (!w.bytes || (!lazy && !calls_records()))
        return error;
    calls_switch_on(CALLS_RECORD);
    if (!record_check(false))
        return -EAGAIN;
    if (lazy)
        atomic_store(&opted, true);
    record_hint(start, w.end, lazy ? HINT_LAZYFREE : HINT_KEEP,
                lazy ? HINT_KEEP : HINT_LAZYFREE | HINT_COLD);
    return error;
}

bool range_opted(void)
{
    return atomic_load_explicit(&opted, memory_order_relaxed);
}
