#include "shim/jemalloc/fallback.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "pool/common/je.h"
#include "shim/jemalloc/aside.h"
#include "shim/jemalloc/guarded.h"

static void *first_small(size_t size);
static void *first_small_zeroed(size_t count, size_t size);
static void first_free_other(void *ptr);

void *(*heap_small)(size_t size) = first_small;
void *(*heap_small_zeroed)(size_t count, size_t size) = first_small_zeroed;
void *(*heap_resized)(void *ptr, size_t size) = je_realloc;
void (*heap_free_other)(void *ptr) = first_free_other;

// The guard, if it is wanted. What sampling has put there guards itself; and another allocator in
// front is none of ours.
static void catch_up(void)
{
    if (!atomic_load(&guarded_wanted))
        return;
    if (heap_free_other == je_free)
        heap_free_other = guarded_free;
    if (heap_small == je_malloc)
        heap_small = guarded_malloc;
    if (heap_small_zeroed == je_calloc)
        heap_small_zeroed = guarded_calloc;
    if (heap_resized == je_realloc)
        heap_resized = guarded_realloc;
}

// With the first request: which heap serves is settled. False while that is being asked, of a
// library in front, whose own requests come here.
static bool settle(void)
{
    void *(*none)(size_t) = first_small, *(*none_zeroed)(size_t, size_t) = first_small_zeroed;
    bool other = aside();

    if (!aside_is_known())
        return false;
    heap_free_other = other ? free : je_free;
    // Unless sampling has put its own there meanwhile.
    __atomic_compare_exchange_n(&heap_small, &none, other ? malloc : je_malloc, false,
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    __atomic_compare_exchange_n(&heap_small_zeroed, &none_zeroed, other ? calloc : je_calloc, false,
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    // Before the question: whichever of the two comes first, the other sees it.
    atomic_store(&guarded_on_wanted, catch_up);
    catch_up();
    return true;
}

static void *first_small(size_t size)
{
    return settle() ? heap_small(size) : guarded_malloc(size);
}

static void *first_small_zeroed(size_t count, size_t size)
{
    return settle() ? heap_small_zeroed(count, size) : guarded_calloc(count, size);
}

static void first_free_other(void *ptr)
{
    if (settle())
        heap_free_other(ptr);
    else
        guarded_free(ptr);
}
