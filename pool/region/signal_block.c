#include "pool/region/signal_block.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/region.h"
#include "shim/kernel.h"

#define PAGE ((size_t)4096)

// jemalloc's smallest large class, which it gives for whatever is aligned to more than a page.
#define ALIGNED_MIN_BYTES ((size_t)16 << 10)

// Three levels of 12 bits, and 12 for the page: the kernel gives x86-64 and aarch64 processes
// addresses of at most 48 bits unless they ask for more by a hint.
#define LEVEL_LG 12
#define NODE_WORDS ((size_t)1 << LEVEL_LG)
#define TOP_LEVEL 2
#define ADDRESS_BITS 48

// A node's words point to the nodes one level below; on level 0 they are the bytes of the block
// that begins on that page, or 0.
typedef _Atomic uintptr_t word;
static word root[NODE_WORDS];
_Atomic bool signal_block_used;

// Hangs a new node below `slot`, unless another thread or a handler was faster; 0 without memory.
static uintptr_t grow(word *slot)
{
    uintptr_t there = 0;
    void *node = kernel_map(NODE_WORDS * sizeof(word), 0);

    if (!node || atomic_compare_exchange_strong(slot, &there, (uintptr_t)node))
        return (uintptr_t)node;
    kernel_unmap(node, NODE_WORDS * sizeof(word));
    return there;
}

// The word of a page; NULL where there is none, with `make` for want of memory only.
static word *find(uintptr_t at, bool make)
{
    word *node = root;

    if (at >> ADDRESS_BITS)
        return NULL;
    for (unsigned level = TOP_LEVEL; level > 0; level--) {
        word *slot = &node[at >> (12 + level * LEVEL_LG) & (NODE_WORDS - 1)];
        uintptr_t below = atomic_load_explicit(slot, memory_order_acquire);
        if (!below && make)
            below = grow(slot);
        if (!below)
            return NULL;
        node = (word *)below;
    }
    return &node[at >> 12 & (NODE_WORDS - 1)];
}

// Whole pages, and four classes to a doubling, as jemalloc's; 0 where no address space is that
// large.
static size_t block_bytes(size_t size, size_t alignment)
{
    size_t least = alignment > PAGE ? ALIGNED_MIN_BYTES : PAGE, step = PAGE;

    if (size > PTRDIFF_MAX / 2 || alignment > PTRDIFF_MAX / 4)
        return 0;
    if (size < least)
        size = least;
    if (size > 4 * PAGE)
        step = (size_t)1 << (63 - __builtin_clzl(size - 1)) >> 2;
    return (size + step - 1) & -step;
}

// What lies before the first multiple of `alignment`, and behind the block, goes back at once.
static void *map_aligned(size_t bytes, size_t alignment)
{
    size_t extra = alignment > PAGE ? alignment - PAGE : 0;
    char *at = kernel_map(bytes + extra, 0);

    if (!at || !extra)
        return at;
    char *block = (char *)(((uintptr_t)at + extra) & -alignment);
    if (block > at)
        kernel_unmap(at, (size_t)(block - at));
    if (block + bytes < at + bytes + extra)
        kernel_unmap(block + bytes, (size_t)(at + extra - block));
    return block;
}

void *signal_block_new(size_t size, size_t alignment)
{
    size_t bytes = block_bytes(size, alignment);
    int saved = errno;
    void *ptr = bytes ? map_aligned(bytes, alignment) : NULL;
    // What lies before the region's first block would pass for a pooled one.
    word *page = ptr && !region_holds(ptr) ? find((uintptr_t)ptr, true) : NULL;

    if (ptr && !page) {
        kernel_unmap(ptr, bytes);
        ptr = NULL;
    }
    if (ptr) {
        atomic_store_explicit(&signal_block_used, true, memory_order_relaxed);
        atomic_store_explicit(page, bytes, memory_order_release);
        pages_take(bytes);
    }
    errno = saved;
    return ptr;
}

size_t signal_block_look_up(const void *ptr)
{
    word *page = ptr ? find((uintptr_t)ptr, false) : NULL;

    return page ? atomic_load_explicit(page, memory_order_acquire) : 0;
}

bool signal_block_remove(void *ptr)
{
    word *page = ptr ? find((uintptr_t)ptr, false) : NULL;
    size_t bytes = page ? atomic_exchange(page, 0) : 0;
    int saved = errno;

    if (!bytes)
        return false;
    kernel_unmap(ptr, bytes);
    pages_return(bytes);
    errno = saved;
    return true;
}
