// A double free whose callers stand on known lines. After a call that does not return nothing of
// the caller follows: the address it would return to is the next function's.

#include "tests/preload/victim.h"

#include <signal.h>

#define APART __attribute__((noinline, noclone))

static volatile int after;

static APART void free_twice(void *p)
{
    free(p);
    free(victim_hide(p)); // call of free_twice
    after++;
}

static APART _Noreturn void end(void *p)
{
    free_twice(p); // call of end
    exit(0);
}

static APART void lead_to_the_end(void *p)
{
    end(p); // call of lead_to_the_end
}

static APART void *allocate(void)
{
    void *p = malloc(500000); // allocation of allocate
    after++;
    return p;
}

static void *block;

static void on_fault(int sig)
{
    (void)sig;
    lead_to_the_end(block); // call of on_fault
}

// Interrupted at its first instruction, which no other of this function precedes.
static APART void fault(volatile int *nowhere)
{
    *nowhere = 1; // call of fault
}

int main(void)
{
    block = allocate(); // allocation of main
    signal(SIGSEGV, on_fault);
    fault(victim_hide(NULL)); // call of main
    return 1;
}
