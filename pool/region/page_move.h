// page_move - what mremap(2) does on this kernel, and page moves by it.
//
// A move is mremap with MREMAP_FIXED and MREMAP_DONTUNMAP (Linux 5.7): the pages go to the target,
// the source stays mapped and reads as zero. Before Linux 6.17 the source must lie in one mapping;
// where it does not, the call fails with EFAULT after it has unmapped the target. So a source is
// cut at the borders of its mappings before it moves.
//
// Emulators differ: after such a move QEMU 7.2 (qemu-user) takes the source for unmapped, and
// ignores MADV_DONTNEED there. page_move_probe() therefore does what the heap will do: it writes,
// moves, gives back and reads back.
//
// Any thread. Nothing here allocates, takes a lock or lets a thread be cancelled. errno changes.
#ifndef TIDEPOOL_POOL_REGION_PAGE_MOVE_H
#define TIDEPOOL_POOL_REGION_PAGE_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum page_moves {
    PAGE_MOVES_NONE,    // they fail, or leave the source in a wrong state
    PAGE_MOVES_ONE,     // from one mapping
    PAGE_MOVES_SEVERAL, // from any number of mappings (Linux 6.17)
};

// Tries it on pages of its own: some twelve system calls.
enum page_moves page_move_probe(void);

// How many of the `size` bytes from `from` on lie in the mapping of the first; 0 where the kernel
// does not say. One system call where all do, else one more for each halving down to a page.
size_t page_move_in_one_mapping(uintptr_t from, size_t size);

// False where the kernel refused. Then the target may be unmapped.
bool page_move(uintptr_t from, size_t size, uintptr_t to);

#endif
