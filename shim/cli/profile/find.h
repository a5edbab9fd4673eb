// find - finding an address in a table of ranges.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_FIND_H
#define TIDEPOOL_SHIM_CLI_PROFILE_FIND_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// How many of `count` entries of `size` bytes start at or below the address; each begins with its
// uint64_t start, and they ascend. The last one of those is the entry that may hold it.
static inline size_t starts_up_to(const void *entries, size_t count, size_t size, uint64_t address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t start;
        memcpy(&start, (const char *)entries + middle * size, sizeof start);
        if (start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

#endif
