#include "mfile/record.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mfile/maps.h"
#include "mfile/policy.h"
#include "shim/base.h"

enum { RING = 4096, ASIDE = 64, REBUILDS = 8, RECENT = 1024 };
enum kind { PUT, REMOVE, LIFT, DROP, COPY, USE, HINT, MARK };

struct note {
    enum kind kind;
    uint64_t number; // of a lift
    uint64_t to, length;
    uint16_t set, clear;
    bool copy;
    enum record_mark mark;
    struct mapping m; // the range, and all of it for PUT
};

// A slot is full when seq is the number of its turn, counted from 1.
static struct slot {
    _Atomic uint64_t seq;
    struct note note;
} ring[RING];
static _Atomic uint64_t tail, head; // turns given out, turns worked off
static _Atomic pthread_t taken;     // who has the table; 0: nobody
static _Atomic bool doubtful = true;
static _Atomic bool fork_differs;
static _Atomic int32_t flying; // calls between their note and their end
static _Atomic uint64_t lifts, lost;
static _Atomic pthread_t forking; // who holds the table for a fork
static _Atomic uint32_t count;    // of the table's entries, for those who do not have it

uint16_t (*record_rule)(const char *path);

// Only by who has the table.
static struct table tables[2], *table = &tables[0];
static struct {
    uint64_t number; // 0: free
    struct mapping m;
} aside[ASIDE];
// Where mappings lie that are MAPPING_FRESH; more than fit are looked for everywhere.
static struct span {
    uint64_t start, end;
} recent[RECENT];
static _Atomic uint32_t recent_count;
static _Atomic uint32_t unanswered; // of those that were asked for
static _Atomic bool unruled; // a mapping came that no rule was asked for: a look at /proc does
static uint32_t serial;      // of such a mapping, in place of its device
static _Atomic bool missed;  // such a one is not in the table: its note was lost

uint32_t record_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec * 16 + (uint32_t)(t.tv_nsec >> 26) + 1;
}

void record_doubt(void)
{
    atomic_store(&doubtful, true);
}

bool record_is_doubtful(void)
{
    return atomic_load(&doubtful);
}

uint64_t record_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

static uint32_t recents(void)
{
    return atomic_load_explicit(&recent_count, memory_order_relaxed);
}

static void set_recents(uint32_t n)
{
    atomic_store_explicit(&recent_count, n, memory_order_relaxed);
}

static void note_recent(uint64_t start, uint64_t end)
{
    uint32_t n = recents();

    if (n == RECENT) {
        start = n = 0;
        end = UINT64_MAX;
    }
    recent[n] = (struct span){start, end};
    set_recents(n + 1);
}

static void put(const struct mapping *m)
{
    if (!table_put(table, m))
        record_doubt();
    else if (m->flags & MAPPING_FRESH)
        note_recent(m->start, m->end);
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
    struct mapping *m = table_find(table, n->m.start);

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
    case USE:
        m->used = record_now();
        break;
    case HINT:
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

    for (uint64_t at = n->m.start; (m = table_find(table, at)) && m->start < n->m.end;) {
        uint64_t start = m->start > at ? m->start : at;
        at = m->end < n->m.end ? m->end : n->m.end;
        if (!table_cut(table, start, at, keep_piece, &piece))
            record_doubt();
        change(&piece, n);
        if (!table_put(table, &piece))
            record_doubt();
    }
}

// The rest is about mappings, and is true of the whole one.
static void change_all(const struct note *n)
{
    struct mapping *m;

    for (uint64_t at = n->m.start; (m = table_find(table, at)) && m->start < n->m.end; at = m->end)
        change(m, n);
}

static void apply(struct note *n)
{
    switch (n->kind) {
    case PUT:
        n->m.used = record_now();
        if (n->m.flags & MAPPING_FRESH)
            n->m.dev = ++serial;
        else if (!(n->m.flags & MAPPING_RULED))
            atomic_store_explicit(&unruled, true, memory_order_relaxed);
        put(&n->m);
        break;
    case REMOVE:
        if (!table_cut(table, n->m.start, n->m.end, NULL, NULL))
            record_doubt();
        break;
    case LIFT:
        if (!table_cut(table, n->m.start, n->m.end, keep_aside, &n->number))
            record_doubt();
        break;
    case DROP:
        drop(n);
        break;
    case COPY:
        copy(n);
        break;
    case HINT:
        change_hints(n);
        break;
    case USE:
    case MARK:
        change_all(n);
        break;
    }
}

// The slot of turn `number`, counted from 0, if it is full. Most often it was not even given out,
// which is seen without touching a page of the ring.
static struct slot *full_slot(uint64_t number)
{
    struct slot *s = &ring[number % RING];

    return atomic_load(&tail) != number && atomic_load(&s->seq) == number + 1 ? s : NULL;
}

static void work_off(void)
{
    struct slot *s;

    for (uint64_t h = atomic_load(&head); (s = full_slot(h)); h++) {
        struct note n = s->note;
        atomic_store_explicit(&head, h + 1, memory_order_release);
        apply(&n);
    }
}

static bool try_take(void)
{
    pthread_t nobody = 0;

    return atomic_compare_exchange_strong(&taken, &nobody, pthread_self());
}

// A note may have come while we held the table, its writer having found it taken. Each of the two
// does its own store first and looks second (seq_cst), so one of them sees the other.
static void let_go(void)
{
    do {
        work_off();
        atomic_store_explicit(&count, table->entry_count, memory_order_relaxed);
        atomic_store(&taken, (pthread_t)0);
    } while (full_slot(atomic_load(&head)) && try_take());
}

// Not nanosleep(): it is a point of cancellation.
static void nap(void)
{
    struct timespec t = {0, 50000};

    syscall(SYS_nanosleep, &t, NULL);
}

// For those who can wait; never in a mapping call.
static bool take(unsigned ms)
{
    for (unsigned i = 0; !try_take(); i++) {
        if (i == ms * 20)
            return false;
        nap();
    }
    return true;
}

static void leave_note(const struct note *n)
{
    uint64_t t = atomic_load(&tail);

    do {
        // Negative where t is old: then the exchange fails.
        if ((int64_t)(t - atomic_load_explicit(&head, memory_order_acquire)) >= RING) {
            atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
            if ((n->m.flags & MAPPING_FRESH) || recents())
                atomic_store(&missed, true);
            record_doubt();
            return;
        }
    } while (!atomic_compare_exchange_weak(&tail, &t, t + 1));
    struct slot *s = &ring[t % RING];
    s->note = *n;
    atomic_store(&s->seq, t + 1);
}

static void tell(struct note *n)
{
    if (try_take()) {
        work_off();
        // INVARIANT: an unfinished note holds up those behind it, and they may be about the very
        // range that this one is about, so nothing overtakes it.
        if (atomic_load(&head) == atomic_load(&tail))
            apply(n);
        else
            leave_note(n);
        let_go();
        return;
    }
    leave_note(n);
    // Who had it may have let go before the note was there.
    if (try_take())
        let_go();
}

void record_begin(void)
{
    atomic_fetch_add(&flying, 1);
}

void record_end(void)
{
    atomic_fetch_sub(&flying, 1);
}

// Nothing that a note could take away: no mapping in the table, and none on its way there.
static bool is_empty(void)
{
    return !atomic_load_explicit(&count, memory_order_relaxed) &&
           atomic_load(&head) == atomic_load(&tail) && !atomic_load(&taken);
}

static struct note note_of(enum kind kind, uint64_t start, uint64_t end)
{
    return (struct note){.kind = kind, .m = {.start = start, .end = end}};
}

void record_remove(uint64_t start, uint64_t end)
{
    if (is_empty())
        return;
    struct note n = note_of(REMOVE, start, end);
    tell(&n);
}

void record_put(const struct mapping *m)
{
    struct note n = {.kind = PUT, .m = *m};
    tell(&n);
}

uint64_t record_lift(uint64_t start, uint64_t end)
{
    if (is_empty())
        return 0;
    struct note n = note_of(LIFT, start, end);

    n.number = atomic_fetch_add(&lifts, 1) + 1;
    tell(&n);
    return n.number;
}

void record_drop(uint64_t number, uint64_t from, uint64_t end, uint64_t to, uint64_t length,
                 bool copy_too)
{
    if (!number)
        return;
    struct note n = note_of(DROP, from, end);

    n.number = number;
    n.to = to;
    n.length = length;
    n.copy = copy_too;
    tell(&n);
}

void record_copy(uint64_t from, uint64_t to, uint64_t length)
{
    if (is_empty())
        return;
    struct note n = note_of(COPY, from, from + 1);

    n.to = to;
    n.length = length;
    tell(&n);
}

void record_use(uint64_t start, uint64_t end)
{
    if (is_empty())
        return;
    struct note n = note_of(USE, start, end);
    tell(&n);
}

void record_hint(uint64_t start, uint64_t end, uint16_t set, uint16_t clear)
{
    struct note n = note_of(HINT, start, end);

    n.set = set;
    n.clear = clear;
    tell(&n);
}

void record_mark(uint64_t start, uint64_t end, enum record_mark what)
{
    struct note n = note_of(MARK, start, end);

    n.mark = what;
    tell(&n);
}

unsigned record_read(uint64_t address, struct mapping *out, unsigned limit, bool *ok)
{
    struct mapping *m;
    unsigned n = 0;

    *ok = take(100);
    if (!*ok)
        return 0;
    work_off();
    while (n < limit && (m = table_find(table, address))) {
        out[n++] = *m;
        address = m->end;
    }
    let_go();
    return n;
}

bool record_waits(void)
{
    return recents() || atomic_load(&unanswered) || atomic_load(&missed) ||
           atomic_load(&head) != atomic_load(&tail);
}

unsigned record_fresh(struct mapping *out, unsigned limit)
{
    unsigned n = 0;

    if (atomic_load(&missed))
        record_check(true);
    if (!take(100))
        return 0;
    work_off();
    while (recents() && n < limit) {
        struct span *s = &recent[recents() - 1];
        struct mapping *m = table_find(table, s->start);
        if (!m || m->start >= s->end) {
            set_recents(recents() - 1);
            continue;
        }
        s->start = m->end;
        if (!(m->flags & MAPPING_FRESH))
            continue;
        out[n++] = *m;
        atomic_fetch_add(&unanswered, 1);
    }
    let_go();
    return n;
}

// What is left of a mapping that was asked for: its first piece. Its serial number tells it from
// others that lie there by now.
static struct mapping *first_piece(const struct mapping *asked)
{
    struct mapping *m;

    for (uint64_t at = asked->start; (m = table_find(table, at)) && m->start < asked->end;
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
        note_recent(piece.end, asked->end);
    // What leaves is noted before it is unmapped. So if its start is in the table still, and no
    // note waits, the kernel was asked for this mapping; else perhaps for what lies there by now.
    if (piece.start != asked->start || atomic_load(&head) != atomic_load(&tail)) {
        note_recent(piece.start, piece.end);
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
    if (!table_cut(table, piece.start, piece.end, NULL, NULL) || !table_put(table, &piece))
        record_doubt();
    return known != NULL;
}

bool record_answer(const struct mapping *asked, struct mapping *known)
{
    if (!take(100))
        return false;
    work_off();
    bool ok = answer(asked, known);
    atomic_fetch_sub(&unanswered, 1);
    let_go();
    return ok;
}

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
        m.dev = old ? old->dev : ++serial;
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
    struct rebuild r = {.old = table, .fresh = table == &tables[0] ? &tables[1] : &tables[0]};
    uint64_t seen = atomic_load(&tail);

    if (atomic_load(&flying) > 0 || (atomic_load(&head) != seen && !force))
        return false;
    // A note that is never finished, because its writer is stopped, would hold up all others.
    atomic_store(&head, seen);
    atomic_store(&doubtful, false);
    r.missed = atomic_exchange(&missed, false);
    bool was_unruled = atomic_exchange(&unruled, false);
    bool ok = maps_read(rebuild_line, &r) == 0 && !r.failed && atomic_load(&tail) == seen &&
              atomic_load(&flying) <= 0 && !atomic_load(&doubtful);
    table_clear(ok ? r.old : r.fresh);
    if (!ok) {
        if (r.missed)
            atomic_store(&missed, true);
        if (was_unruled)
            atomic_store(&unruled, true);
        record_doubt();
        return false;
    }
    table = r.fresh;
    if (r.missed) {
        set_recents(0);
        note_recent(0, UINT64_MAX);
    }
    return true;
}

bool record_check(bool anyway)
{
    bool ok = false;

    if (!anyway && !record_is_doubtful())
        return true;
    if (!take(100))
        return false;
    for (unsigned try = 0; !ok && try < REBUILDS; try++) {
        if (try)
            nap();
        work_off();
        ok = rebuild(try == REBUILDS - 1);
    }
    let_go();
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

bool record_has_unruled(void)
{
    return atomic_load_explicit(&unruled, memory_order_relaxed);
}

void record_fork_differs(void)
{
    atomic_store_explicit(&fork_differs, true, memory_order_relaxed);
}

// A handler that interrupted this thread with the table in its hands may fork, too.
static bool is_ours(void)
{
    return atomic_load(&taken) == pthread_self();
}

void record_prefork(void)
{
    if (!is_ours() && take(20))
        atomic_store(&forking, pthread_self());
}

// Threads may fork at the same time: one of them has the table.
static bool held_for_fork(void)
{
    pthread_t self = pthread_self();

    return atomic_compare_exchange_strong(&forking, &self, (pthread_t)0);
}

void record_postfork_parent(void)
{
    if (held_for_fork())
        let_go();
}

void record_postfork_child(void)
{
    bool whole = held_for_fork();

    // Then this thread goes on with it in the child as well; only what others were at is lost.
    if (!whole && is_ours()) {
        atomic_store(&flying, 0);
        record_doubt();
        return;
    }
    if (whole) {
        work_off();
    } else {
        table_forget_all();
        tables[0].leaf_count = tables[0].entry_count = 0;
        tables[1].leaf_count = tables[1].entry_count = 0;
        set_recents(0);
    }
    // Some of them were asked for by the parent's worker.
    if (atomic_exchange(&unanswered, 0))
        note_recent(0, UINT64_MAX);
    // Calls and notes of threads that the child does not have.
    if (!whole || atomic_load(&flying) > 0 || atomic_load(&fork_differs) ||
        atomic_load(&head) != atomic_load(&tail))
        record_doubt();
    memset(aside, 0, sizeof aside);
    // One of ours, too, if a handler in the middle of it forked: then it ends at -1.
    atomic_store(&flying, 0);
    atomic_store(&head, atomic_load(&tail));
    atomic_store(&forking, (pthread_t)0);
    atomic_store_explicit(&count, table->entry_count, memory_order_relaxed);
    atomic_store(&taken, (pthread_t)0);
}
