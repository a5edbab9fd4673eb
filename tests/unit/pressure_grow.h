// pressure_grow - growth as a program's: pages are counted, and an evaluation is taken where one is
// due.
#ifndef TIDEPOOL_TESTS_UNIT_PRESSURE_GROW_H
#define TIDEPOOL_TESTS_UNIT_PRESSURE_GROW_H

#include "pressure/direct_reclaim.h"

static inline void pressure_grow(size_t bytes)
{
    uint64_t total = atomic_fetch_add(&direct_grown.total, bytes) + bytes;

    if (total >= atomic_load(&direct_grown.due))
        direct_grow_due(bytes);
}

#endif
