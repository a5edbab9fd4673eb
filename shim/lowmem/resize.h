// resize - large blocks that grow where memory is short.
//
// A block that cannot grow where it is moves, and for that time there are two of it. A buffer of
// 100 MiB that grows by a little would need 200. Where so much is not left, its pages are given
// back as they are copied, and what is there is one block and a part of another. A buffer that
// grows by half to 100 MiB (tests/survival/buffer.c) survives a limit of 103 MiB with this and of
// 129 without. With glibc, which moves pages by mremap(2), it takes 101, with jemalloc 204.
#ifndef TIDEPOOL_SHIM_LOWMEM_RESIZE_H
#define TIDEPOOL_SHIM_LOWMEM_RESIZE_H

#include <stdbool.h>
#include <stddef.h>

// Is a block of `have` bytes that large, and memory that short? Never in a signal handler that
// interrupted a request: resize_tight() may evaluate and reclaim.
bool resize_is_tight(size_t have, size_t size);

// Then: copies what is in it, and leaves it with hardly a page.
void resize_copy(void *to, void *from, size_t bytes);

// And: as realloc, of a block of jemalloc's. NULL where no address space or commitment is to be
// had, or the request is to fail, and `ptr` is as it was.
void *resize_tight(void *ptr, size_t have, size_t size);

// TIDEPOOL_ON_LIMIT=enomem: as je_rallocx and je_xallocx, of a block of jemalloc's, where what is
// added is promised first (promised.h).
void *resize_promised(void *ptr, size_t size, int flags);
size_t resize_in_place(void *ptr, size_t size, size_t extra, int flags);

#endif
