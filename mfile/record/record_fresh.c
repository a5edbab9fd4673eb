// record_fresh - mappings that no rule was asked for yet: where they lie, and the answers.
#include "mfile/parse/policy.h"
#include "mfile/record/record_inside.h"

enum { RECENT = 1024 };

// Where mappings lie that are MAPPING_FRESH; where they do not fit, the whole table is searched.
// Only by the table's holder.
static struct span {
    uint64_t start, end;
} recent[RECENT];

void record_note_recent(uint64_t start, uint64_t end)
{
    uint32_t n = record_recents();

    if (n == RECENT) {
        start = n = 0;
        end = UINT64_MAX;
    }
    recent[n] = (struct span){start, end};
    record_set_recents(n + 1);
}

bool record_waits(void)
{
    return record_recents() || atomic_load(&record.unanswered) || atomic_load(&record.missed) ||
           atomic_load(&record.head) != atomic_load(&record.tail);
}

bool record_has_unruled(void)
{
    return atomic_load_explicit(&record.unruled, memory_order_relaxed);
}

unsigned record_fresh(struct mapping *out, unsigned limit)
{
    unsigned n = 0;

    if (atomic_load(&record.missed))
        record_check(true);
    if (!record_take(100))
        return 0;
    record_work_off();
    while (record_recents() && n < limit) {
        struct span *s = &recent[record_recents() - 1];
        struct mapping *m = table_find(record.table, s->start);
        if (!m || m->start >= s->end) {
            record_set_recents(record_recents() - 1);
            continue;
        }
        s->start = m->end;
        if (!(m->flags & MAPPING_FRESH))
            continue;
        out[n++] = *m;
        atomic_fetch_add(&record.unanswered, 1);
    }
    record_let_go();
    return n;
}

// What is left of a mapping that was asked for: its first piece. Its serial number tells it from
// others that lie there by now.
static struct mapping *first_piece(const struct mapping *asked)
{
    struct mapping *m;

    for (uint64_t at = asked->start; (m = table_find(record.table, at)) && m->start < asked->end;
         at = m->end)
        if ((m->flags & MAPPING_FRESH) && m->dev == asked->dev)
            return m;
    return NULL;
}

static bool answer(const struct mapping *asked, struct mapping *known)
{
    struct mapping *m = first_piece(asked), piece;

    if (!m)
        return false;
    piece = *m;
    if (piece.end < asked->end)
        record_note_recent(piece.end, asked->end);
    // What leaves is noted before it is unmapped. So if its start is in the table still, and no
    // note waits, the kernel was asked for this mapping; else perhaps for what lies there by now.
    if (piece.start != asked->start || atomic_load(&record.head) != atomic_load(&record.tail)) {
        record_note_recent(piece.start, piece.end);
        return false;
    }
    piece.flags &= (uint8_t)~MAPPING_FRESH;
    piece.dev = 0;
    if (known) {
        // What the program said itself stands.
        piece.hints = piece.flags & MAPPING_RULED ? piece.hints | (known->hints & HINT_AT_ONCE)
                                                  : known->hints;
        piece.flags |= MAPPING_RULED;
        piece.inode = known->inode;
        piece.dev = known->dev;
        *known = piece;
    }
    // It may continue its neighbours now.
    if (!table_cut(record.table, piece.start, piece.end, NULL, NULL) ||
        !table_put(record.table, &piece))
        record_doubt();
    return known != NULL;
}

bool record_answer(const struct mapping *asked, struct mapping *known)
{
    if (!record_take(100)) {
        // Its place is not among the recent ones any more: the whole table is searched.
        atomic_store(&record.missed, true);
        atomic_fetch_sub(&record.unanswered, 1);
        return false;
    }
    record_work_off();
    bool ok = answer(asked, known);
    atomic_fetch_sub(&record.unanswered, 1);
    record_let_go();
    return ok;
}
