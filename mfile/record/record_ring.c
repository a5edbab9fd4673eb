// record_ring - the ring of notes, and the table's holder; see record.h.
#include <pthread.h>
#include <unistd.h>

#include "mfile/record/record_inside.h"
#include "shim/clock.h"

enum { RING = 4096 };

// A slot is full when seq is the number of its turn, counted from 1.
static struct slot {
    _Atomic uint64_t seq;
    struct note note;
} ring[RING];
static _Atomic uint64_t lost;

uint64_t record_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

// The slot of turn `number`, counted from 0, if it is full. Most often it was not even given out,
// which is seen without touching a page of the ring.
static struct slot *full_slot(uint64_t number)
{
    struct slot *s = &ring[number % RING];

    return atomic_load(&record.tail) != number && atomic_load(&s->seq) == number + 1 ? s : NULL;
}

void record_work_off(void)
{
    struct slot *s;

    for (uint64_t h = atomic_load(&record.head); (s = full_slot(h)); h++) {
        struct note n = s->note;
        atomic_store_explicit(&record.head, h + 1, memory_order_release);
        record_apply(&n);
    }
}

static bool try_take(void)
{
    pthread_t none = 0;

    return atomic_compare_exchange_strong(&record.taken, &none, pthread_self());
}

// A note may have come while we held the table, its writer having found it taken. Each of the two
// stores first and loads second (seq_cst), so one of them sees the other.
void record_let_go(void)
{
    do {
        record_work_off();
        atomic_store_explicit(&record.count, record.table->entry_count, memory_order_relaxed);
        atomic_store(&record.taken, (pthread_t)0);
    } while (full_slot(atomic_load(&record.head)) && try_take());
}

void record_nap(void)
{
    clock_nap_us(50);
}

bool record_take(unsigned ms)
{
    for (unsigned i = 0; !try_take(); i++) {
        if (i == ms * 20)
            return false;
        record_nap();
    }
    return true;
}

static void leave_note(const struct note *n)
{
    uint64_t t = atomic_load(&record.tail);

    do {
        // Negative where t is old: then the exchange fails.
        if ((int64_t)(t - atomic_load_explicit(&record.head, memory_order_acquire)) >= RING) {
            atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
            if ((n->m.flags & MAPPING_FRESH) || record_recents())
                atomic_store(&record.missed, true);
            record_doubt();
            return;
        }
    } while (!atomic_compare_exchange_weak(&record.tail, &t, t + 1));
    struct slot *s = &ring[t % RING];
    s->note = *n;
    atomic_store(&s->seq, t + 1);
}

void record_tell(struct note *n)
{
    if (try_take()) {
        record_work_off();
        // INVARIANT: an unfinished note holds up those behind it, and they may be about the very
        // range that this one is about, so nothing overtakes it.
        if (atomic_load(&record.head) == atomic_load(&record.tail))
            record_apply(n);
        else
            leave_note(n);
        record_let_go();
        return;
    }
    leave_note(n);
    // The holder may have let go before the note was there.
    if (try_take())
        record_let_go();
}
