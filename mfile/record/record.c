#include "mfile/record/record.h"

#include <time.h>

#include "mfile/record/record_inside.h"

struct table record_tables[2];
struct record record = {.doubtful = true, .table = &record_tables[0]};

static _Atomic uint64_t lifts;

static uint32_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec * 16 + (uint32_t)(t.tv_nsec >> 26) + 1;
}

uint32_t (*record_now)(void) = now;

void record_doubt(void)
{
    atomic_store(&record.doubtful, true);
}

bool record_is_doubtful(void)
{
    return atomic_load(&record.doubtful);
}

void record_begin(void)
{
    atomic_fetch_add(&record.flying, 1);
}

void record_end(void)
{
    atomic_fetch_sub(&record.flying, 1);
}

// Nothing that a note could take away: no mapping in the table, and none on its way there. In the
// order in which a note travels: the ring, the holder's hands, the count.
static bool is_empty(void)
{
    return atomic_load(&record.head) == atomic_load(&record.tail) && !atomic_load(&record.taken) &&
           !atomic_load_explicit(&record.count, memory_order_relaxed);
}

static struct note note_of(enum note_kind kind, uint64_t start, uint64_t end)
{
    return (struct note){.kind = kind, .m = {.start = start, .end = end}};
}

void record_remove(uint64_t start, uint64_t end)
{
    if (is_empty())
        return;
    struct note n = note_of(NOTE_REMOVE, start, end);
    record_tell(&n);
}

void record_put(const struct mapping *m)
{
    struct note n = {.kind = NOTE_PUT, .m = *m};
    record_tell(&n);
}

uint64_t record_lift(uint64_t start, uint64_t end)
{
    if (is_empty())
        return 0;
    struct note n = note_of(NOTE_LIFT, start, end);

    n.number = atomic_fetch_add(&lifts, 1) + 1;
    record_tell(&n);
    return n.number;
}

void record_drop(uint64_t number, uint64_t from, uint64_t end, uint64_t to, uint64_t length,
                 bool copy_too)
{
    if (!number)
        return;
    struct note n = note_of(NOTE_DROP, from, end);

    n.number = number;
    n.to = to;
    n.length = length;
    n.copy = copy_too;
    record_tell(&n);
}

void record_copy(uint64_t from, uint64_t to, uint64_t length)
{
    if (is_empty())
        return;
    struct note n = note_of(NOTE_COPY, from, from + 1);

    n.to = to;
    n.length = length;
    record_tell(&n);
}

void record_use(uint64_t start, uint64_t end)
{
    if (is_empty())
        return;
    struct note n = note_of(NOTE_USE, start, end);
    record_tell(&n);
}

void record_hint(uint64_t start, uint64_t end, uint16_t set, uint16_t clear)
{
    struct note n = note_of(NOTE_HINT, start, end);

    n.set = set;
    n.clear = clear;
    record_tell(&n);
}

void record_mark(uint64_t start, uint64_t end, enum record_mark what)
{
    struct note n = note_of(NOTE_MARK, start, end);

    n.mark = what;
    record_tell(&n);
}

uint16_t record_hints(uint64_t start, uint64_t end)
{
    const struct mapping *m;
    uint16_t hints = 0;

    if (!record_take(0))
        return 0;
    for (; (m = table_find(record.table, start)) && m->start < end; start = m->end)
        hints |= m->hints;
    record_let_go();
    return hints;
}

unsigned record_read(uint64_t address, struct mapping *out, unsigned limit, bool *ok)
{
    struct mapping *m;
    unsigned n = 0;

    *ok = record_take(100);
    if (!*ok)
        return 0;
    record_work_off();
    while (n < limit && (m = table_find(record.table, address))) {
        out[n++] = *m;
        address = m->end;
    }
    record_let_go();
    return n;
}
