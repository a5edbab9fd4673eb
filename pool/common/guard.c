#include "pool/common/guard.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/common/je.h"
#include "pool/common/marks.h"

_Thread_local volatile sig_atomic_t guard_inside;
static _Atomic(void *) deferred; // each block's first word points to the next
void (*guard_free_left)(void *ptr) = je_free;

// The program may have protected the page and freed the block without undoing that.
static void make_writable(void *ptr)
{
    uintptr_t page = (uintptr_t)ptr & ~(uintptr_t)4095;
    int saved = errno;

    if (atomic_load_explicit(&marks_were_made, memory_order_relaxed) && marks_any(page, 4096))
        syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE);
    errno = saved;
}

void guard_defer(void *ptr)
{
    void *head = atomic_load(&deferred);

    make_writable(ptr);
    do
        *(void **)ptr = head;
    while (!atomic_compare_exchange_weak(&deferred, &head, ptr));
    guard_inside |= GUARD_OWES;
}

// Where jemalloc calls back meanwhile, nothing else is to be done.
void *guard_free_deferred(void *result)
{
    void *ptr;

    guard_enter();
    ptr = atomic_exchange(&deferred, NULL);
    for (void *next; ptr; ptr = next) {
        next = *(void **)ptr;
        guard_free_left(ptr);
    }
    // What another handler has left since waits for the next one.
    atomic_signal_fence(memory_order_seq_cst);
    guard_inside = GUARD_OUTSIDE;
    return result;
}

// A handler may have come between the two halves of guard_step_out().
void guard_step_in(sig_atomic_t was)
{
    guard_inside =
        was && atomic_load_explicit(&deferred, memory_order_relaxed) ? was | GUARD_OWES : was;
    atomic_signal_fence(memory_order_seq_cst);
}

void guard_fork_begin(void)
{
    if (!guard_entered())
        guard_inside = GUARD_FORKING;
}

void guard_fork_end(void)
{
    if (guard_inside & GUARD_FORKING)
        guard_leave();
}

static void (*end_thread)(void *);

static void end_thread_guarded(void *arg)
{
    guard_enter();
    end_thread(arg);
    guard_leave();
}

int guard_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    end_thread = destructor;
    return pthread_key_create(key, end_thread_guarded);
}
