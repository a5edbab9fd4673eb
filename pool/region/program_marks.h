// program_marks - what the program tells the kernel about pages of the heap: see common/marks.h.
//
// Any thread, signal handlers too. errno is left alone.
#ifndef TIDEPOOL_POOL_REGION_PROGRAM_MARKS_H
#define TIDEPOOL_POOL_REGION_PROGRAM_MARKS_H

#include <stdbool.h>
#include <stddef.h>

#include "pool/common/marks.h"

// What the program did to [addr, addr + length), after the kernel's answer. What failed may have
// been done in part: `ok` decides only whether it took marks off. Ranges without heap pages cost a
// read of a small table.
void marks_on_madvise(const void *addr, size_t length, int advice, bool ok);
void marks_on_protect(const void *addr, size_t length, int prot, int key, bool ok);
void marks_on_lock(const void *addr, size_t length, bool lock, bool ok);
void marks_add(const void *addr, size_t length, unsigned marks);

#endif
