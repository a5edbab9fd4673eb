// record_check - the table made equal to /proc/self/maps.
#include "mfile/parse/maps.h"
#include "mfile/record/record_inside.h"

enum { REBUILDS = 8 };

uint16_t (*record_rule)(const char *path);

// What the old table knew of a range that is still mapped from the same file.
static bool is_same(const struct mapping *old, const struct mapping *m)
{
    uint64_t at = old->start > m->start ? old->start : m->start;

    if (old->inode && (old->inode != m->inode || old->dev != m->dev))
        return false;
    return (old->flags & MAPPING_SHARED) == (m->flags & MAPPING_SHARED) &&
           old->offset + (at - old->start) == m->offset + (at - m->start);
}

struct rebuild {
    struct table *old, *fresh;
    bool failed, missed;
};

static void rebuild_part(struct rebuild *r, const struct mapping *line, uint64_t start,
                         uint64_t end, const struct mapping *old)
{
    struct mapping m = *line;

    m.offset += start - m.start;
    m.start = start;
    m.end = end;
    if (old) {
        m.used = old->used;
        m.cooled = old->cooled;
        m.paged = old->paged;
        m.flags |= old->flags & (MAPPING_EXCLUDED | MAPPING_FRESH);
        if (old->flags & MAPPING_RULED) {
            m.hints = old->hints;
            m.flags |= MAPPING_RULED;
        }
    } else if (r->missed) {
        m.flags |= MAPPING_FRESH;
    }
    if (m.flags & MAPPING_FRESH) {
        m.inode = 0;
        m.dev = old ? old->dev : ++record.serial;
    }
    r->failed |= !table_put(r->fresh, &m);
}

static bool rebuild_line(void *arg, const struct maps_line *line)
{
    struct rebuild *r = arg;

    if (!maps_is_file(line))
        return true;
    struct mapping m = {
        .start = line->start,
        .end = line->end,
        .offset = line->offset,
        .inode = line->inode,
        .dev = line->dev,
        .used = record_now(),
        .hints = record_rule ? record_rule(line->path) : 0,
        .prot = (uint8_t)line->prot,
        .flags = line->shared ? MAPPING_SHARED : 0,
    };
    uint64_t at = m.start;
    while (at < m.end) {
        struct mapping *old = table_find(r->old, at);
        if (!old || old->start >= m.end) {
            rebuild_part(r, &m, at, m.end, NULL);
            break;
        }
        if (old->start > at) {
            rebuild_part(r, &m, at, old->start, NULL);
            at = old->start;
        }
        uint64_t end = old->end < m.end ? old->end : m.end;
        rebuild_part(r, &m, at, end, is_same(old, &m) ? old : NULL);
        at = end;
    }
    return !r->failed;
}

// The notes so far are about what the kernel has done already, and its list has all of that; but
// not those of calls that are under way.
static bool rebuild(bool force)
{
    struct rebuild r = {.old = record.table,
                        .fresh = record.table == &record_tables[0] ? &record_tables[1]
                                                                   : &record_tables[0]};
    uint64_t seen = atomic_load(&record.tail);

    if (atomic_load(&record.flying) > 0 || (atomic_load(&record.head) != seen && !force))
        return false;
    // A note that is never finished, because its writer is stopped, would hold up all others.
    atomic_store(&record.head, seen);
    atomic_store(&record.doubtful, false);
    r.missed = atomic_exchange(&record.missed, false);
    bool was_unruled = atomic_exchange(&record.unruled, false);
    bool ok = maps_read(rebuild_line, &r) == 0 && !r.failed && atomic_load(&record.tail) == seen &&
              atomic_load(&record.flying) <= 0 && !atomic_load(&record.doubtful);
    table_clear(ok ? r.old : r.fresh);
    if (!ok) {
        if (r.missed)
            atomic_store(&record.missed, true);
        if (was_unruled)
            atomic_store(&record.unruled, true);
        record_doubt();
        return false;
    }
    record.table = r.fresh;
    // No call is under way, so nothing will ask for it: the note that would have was lost.
    record_forget_aside();
    if (r.missed) {
        record_set_recents(0);
        record_note_recent(0, UINT64_MAX);
    }
    return true;
}

bool record_check(bool anyway)
{
    bool ok = false;

    if (!anyway && !record_is_doubtful())
        return true;
    if (!record_take(100))
        return false;
    for (unsigned try = 0; !ok && try < REBUILDS; try++) {
        if (try)
            record_nap();
        record_work_off();
        ok = rebuild(try == REBUILDS - 1);
    }
    record_let_go();
    return ok;
}

void record_refresh(uint32_t age)
{
    static _Atomic uint32_t checked;
    uint32_t now = record_now(), last = atomic_load_explicit(&checked, memory_order_relaxed);

    if (last && now - last < age && !record_is_doubtful())
        return;
    record_check(true);
    atomic_store_explicit(&checked, now, memory_order_relaxed);
}
