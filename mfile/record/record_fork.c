// record_fork - the table and the ring around fork.
#include <pthread.h>

#include "mfile/record/record_inside.h"

static _Atomic bool fork_differs;
static _Atomic pthread_t forking; // the thread that holds the table for a fork

void record_fork_differs(void)
{
    atomic_store_explicit(&fork_differs, true, memory_order_relaxed);
}

// A handler that interrupted this thread with the table in its hands may fork, too.
static bool is_ours(void)
{
    return atomic_load(&record.taken) == pthread_self();
}

void record_prefork(void)
{
    if (!is_ours() && record_take(20))
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
        record_let_go();
}

void record_postfork_child(void)
{
    bool whole = held_for_fork();

    // Then this thread goes on with it in the child as well; only what others were at is lost.
    if (!whole && is_ours()) {
        atomic_store(&record.flying, 0);
        record_doubt();
        return;
    }
    if (whole) {
        record_work_off();
    } else {
        table_forget_all();
        record_tables[0].leaf_count = record_tables[0].entry_count = 0;
        record_tables[1].leaf_count = record_tables[1].entry_count = 0;
        record_set_recents(0);
    }
    // Some of them were asked for by the parent's worker.
    if (atomic_exchange(&record.unanswered, 0))
        record_note_recent(0, UINT64_MAX);
    // Calls and notes of threads that the child does not have.
    if (!whole || atomic_load(&record.flying) > 0 || atomic_load(&fork_differs) ||
        atomic_load(&record.head) != atomic_load(&record.tail))
        record_doubt();
    record_forget_aside();
    // One of ours, too, if a handler in the middle of it forked: then it ends at -1.
    atomic_store(&record.flying, 0);
    atomic_store(&record.head, atomic_load(&record.tail));
    atomic_store(&forking, (pthread_t)0);
    atomic_store_explicit(&record.count, record.table->entry_count, memory_order_relaxed);
    atomic_store(&record.taken, (pthread_t)0);
}
