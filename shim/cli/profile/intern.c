// intern - a hash table with open addressing over keys kept in chunks.

#include "shim/cli/profile/intern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/common/cli.h"

enum { CHUNK = 1 << 18 };

struct intern_chunk {
    struct intern_chunk *next;
    size_t used, size;
    _Alignas(max_align_t) unsigned char bytes[];
};

static _Noreturn void no_memory(void)
{
    fputs("tidepool: out of memory\n", stderr);
    exit(EXIT_OURS);
}

void *room_for(void *array, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return array;
    size_t want = *capacity ? *capacity : 16;
    while (want < count)
        if (__builtin_mul_overflow(want, 2, &want))
            no_memory();
    unsigned char *grown = reallocarray(array, want, size);
    if (!grown)
        no_memory();
    memset(grown + *capacity * size, 0, (want - *capacity) * size);
    *capacity = want;
    return grown;
}

// FNV-1a, folded once more: stacks of equal length differ in few bytes.
static uint32_t hash_of(const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ h >> 32);
}

static void *keep(struct intern *t, const void *bytes, size_t size)
{
    size_t room = (size + _Alignof(max_align_t)) & ~(_Alignof(max_align_t) - 1);
    struct intern_chunk *c = t->chunks;
    if (!c || c->size - c->used < room) {
        size_t chunk = room > CHUNK ? room : CHUNK;
        c = malloc(sizeof *c + chunk);
        if (!c)
            no_memory();
        *c = (struct intern_chunk){.next = t->chunks, .size = chunk};
        t->chunks = c;
    }
    unsigned char *at = c->bytes + c->used;
    c->used += room;
    if (size)
        memcpy(at, bytes, size);
    return at;
}

static void rehash(struct intern *t)
{
    size_t slots = t->slot_count ? t->slot_count * 2 : 64;
    free(t->slots);
    t->slots = calloc(slots, sizeof *t->slots);
    if (!t->slots)
        no_memory();
    t->slot_count = slots;
    for (uint32_t n = 0; n < t->count; n++) {
        size_t at = t->keys[n].hash & (slots - 1);
        while (t->slots[at])
            at = (at + 1) & (slots - 1);
        t->slots[at] = n + 1;
    }
}

uint32_t intern_put(struct intern *t, const void *bytes, size_t size)
{
    if (((size_t)t->count + 1) * 2 > t->slot_count)
        rehash(t);
    uint32_t hash = hash_of(bytes, size);
    size_t at = hash & (t->slot_count - 1);
    for (; t->slots[at]; at = (at + 1) & (t->slot_count - 1)) {
        const struct intern_key *k = &t->keys[t->slots[at] - 1];
        if (k->hash == hash && k->size == size && (!size || memcmp(k->bytes, bytes, size) == 0))
            return t->slots[at] - 1;
    }
    if (t->count == UINT32_MAX - 1)
        no_memory();
    t->keys = room_for(t->keys, &t->key_room, (size_t)t->count + 1, sizeof *t->keys);
    t->keys[t->count] = (struct intern_key){keep(t, bytes, size), size, hash};
    t->slots[at] = t->count + 1;
    return t->count++;
}

uint32_t intern_string(struct intern *t, const char *text)
{
    return intern_put(t, text, strlen(text) + 1);
}

const void *intern_get(const struct intern *t, uint32_t number, size_t *size)
{
    *size = t->keys[number].size;
    return t->keys[number].bytes;
}

const char *intern_text(const struct intern *t, uint32_t number)
{
    return t->keys[number].bytes;
}

void intern_free(struct intern *t)
{
    for (struct intern_chunk *c = t->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(t->keys);
    free(t->slots);
    *t = (struct intern){0};
}
