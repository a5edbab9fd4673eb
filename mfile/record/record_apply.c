// record_apply - what a note does to the table.
#include <string.h>

#include "mfile/record/record_inside.h"

enum { ASIDE = 64 };

// Only by the table's holder.
static struct {
    uint64_t number; // 0: free
    struct mapping m;
} aside[ASIDE];

static void put(struct mapping *m)
{
    // A new number wherever it comes to lie: it may have been asked for before, and have come back
    // while the kernel's list was read without it.
    if (m->flags & MAPPING_FRESH)
        m->dev = ++record.serial;
    if (!table_put(record.table, m))
        record_doubt();
    else if (m->flags & MAPPING_FRESH)
        record_note_recent(m->start, m->end);
}

static void keep_aside(void *number, const struct mapping *m)
{
    for (unsigned i = 0; i < ASIDE; i++) {
        if (aside[i].number)
            continue;
        aside[i].number = *(uint64_t *)number;
        aside[i].m = *m;
        return;
    }
    record_doubt();
}

// A piece of what was mapped at `from` comes to lie at `to`, cut or stretched to `length`.
static void put_moved(const struct mapping *m, uint64_t from, uint64_t from_end, uint64_t to,
                      uint64_t length)
{
    struct mapping moved = *m;

    moved.start = to + (m->start - from);
    moved.end = m->end == from_end ? to + length : to + (m->end - from);
    if (moved.end > to + length)
        moved.end = to + length;
    if (moved.start >= moved.end)
        return;
    moved.used = record_now();
    put(&moved);
}

static void drop(const struct note *n)
{
    for (unsigned i = 0; i < ASIDE; i++) {
        if (aside[i].number != n->number)
            continue;
        aside[i].number = 0;
        if (n->copy)
            put(&aside[i].m);
        put_moved(&aside[i].m, n->m.start, n->m.end, n->to, n->length);
    }
}

// What is mapped at one address, once more at another.
static void copy(const struct note *n)
{
    struct mapping *m = table_find(record.table, n->m.start);

    if (!m || m->start > n->m.start)
        return;
    struct mapping again = *m;
    again.offset += n->m.start - m->start;
    again.start = n->to;
    again.end = n->to + n->length;
    again.used = record_now();
    put(&again);
}

static void change(struct mapping *m, const struct note *n)
{
    switch (n->kind) {
    case NOTE_USE:
        m->used = record_now();
        break;
    case NOTE_HINT:
        m->hints = (uint16_t)((m->hints | n->set) & ~n->clear);
        m->flags |= MAPPING_RULED;
        break;
    default:
        if (n->mark == RECORD_COOLED)
            m->cooled = record_now();
        else if (n->mark == RECORD_PAGED)
            m->paged = record_now();
        else
            m->flags |= MAPPING_EXCLUDED;
    }
}

static void keep_piece(void *into, const struct mapping *piece)
{
    *(struct mapping *)into = *piece;
}

// Hints end where the range ends: a mapping that reaches out is split.
static void change_hints(const struct note *n)
{
    struct mapping *m, piece;

    for (uint64_t at = n->m.start; (m = table_find(record.table, at)) && m->start < n->m.end;) {
        uint64_t start = m->start > at ? m->start : at;
        at = m->end < n->m.end ? m->end : n->m.end;
        if (!table_cut(record.table, start, at, keep_piece, &piece))
            record_doubt();
        change(&piece, n);
        if (!table_put(record.table, &piece))
            record_doubt();
    }
}

// The rest is about mappings, and is true of the whole one.
static void change_all(const struct note *n)
{
    struct mapping *m;

    for (uint64_t at = n->m.start; (m = table_find(record.table, at)) && m->start < n->m.end;
         at = m->end)
        change(m, n);
}

void record_apply(struct note *n)
{
    switch (n->kind) {
    case NOTE_PUT:
        n->m.used = record_now();
        if (!(n->m.flags & (MAPPING_FRESH | MAPPING_RULED)))
            atomic_store_explicit(&record.unruled, true, memory_order_relaxed);
        put(&n->m);
        break;
    case NOTE_REMOVE:
        if (!table_cut(record.table, n->m.start, n->m.end, NULL, NULL))
            record_doubt();
        break;
    case NOTE_LIFT:
        if (!table_cut(record.table, n->m.start, n->m.end, keep_aside, &n->number))
            record_doubt();
        break;
    case NOTE_DROP:
        drop(n);
        break;
    case NOTE_COPY:
        copy(n);
        break;
    case NOTE_HINT:
        change_hints(n);
        break;
    case NOTE_USE:
    case NOTE_MARK:
        change_all(n);
        break;
    }
}

void record_forget_aside(void)
{
    memset(aside, 0, sizeof aside);
}
