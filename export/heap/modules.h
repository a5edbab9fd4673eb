// modules - which file an address belongs to, and what is mapped, without a lock of the loader's.
//
// One caller at a time.
#ifndef TIDEPOOL_EXPORT_HEAP_MODULES_H
#define TIDEPOOL_EXPORT_HEAP_MODULES_H

#include <stddef.h>
#include <stdint.h>

#include "export/heap/heap_text.h"

// The last part of the file's name, and the address within it as addr2line takes it; "?" and the
// address itself where no file is. The name stays while the file is mapped.
void modules_find(uintptr_t pc, const char **name, uintptr_t *offset);

// "# build-id PATH HEX" for each mapped file that has one.
void modules_write_build_ids(struct heap_text *t);

// The lines of /proc/self/maps.
void modules_write_maps(struct heap_text *t);

#endif
