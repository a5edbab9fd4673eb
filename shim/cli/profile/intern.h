// intern - equal keys get one number: strings, frames and stacks of `tidepool report`.
//
// A key is any run of bytes, copied once; it stays where it is until the table is freed. Numbers
// count up from 0. Running out of memory ends the launcher with a line: it is an ordinary program.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_INTERN_H
#define TIDEPOOL_SHIM_CLI_PROFILE_INTERN_H

#include <stddef.h>
#include <stdint.h>

struct intern_chunk;
struct intern_key {
    const void *bytes;
    size_t size;
    uint32_t hash;
};
struct intern {
    struct intern_chunk *chunks;
    struct intern_key *keys;
    uint32_t *slots; // number + 1, or 0; a power of two of them
    size_t key_room, slot_count;
    uint32_t count;
};

// A table starts as zeros.
uint32_t intern_put(struct intern *t, const void *bytes, size_t size);
uint32_t intern_string(struct intern *t, const char *text);

// Keys are aligned for any type; strings put by intern_string end in a NUL.
const void *intern_get(const struct intern *t, uint32_t number, size_t *size);
const char *intern_text(const struct intern *t, uint32_t number);

void intern_free(struct intern *t);

// Room for `count` elements of `size` bytes, doubling: the array, moved or not. What is new is
// zeroed.
void *room_for(void *array, size_t *capacity, size_t count, size_t size);

#endif
