#include "mfile/record/table.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/kernel.h"

#define CHUNK_BYTES ((size_t)64 << 10)

// Leaves that no table uses. Under the same lock as the tables.
static struct table_leaf *spare;

static struct table_leaf *leaf_new(void)
{
    if (!spare) {
        int saved = errno;
        struct table_leaf *leaf = kernel_map(CHUNK_BYTES, 0);
        errno = saved;
        if (!leaf)
            return NULL;
        for (size_t i = 0; i < CHUNK_BYTES / sizeof *leaf; i++, leaf++) {
            leaf->next_free = spare;
            spare = leaf;
        }
    }
    struct table_leaf *leaf = spare;
    spare = leaf->next_free;
    leaf->count = 0;
    return leaf;
}

static void leaf_free(struct table_leaf *leaf)
{
    leaf->next_free = spare;
    spare = leaf;
}

void table_forget_all(void)
{
    spare = NULL;
}

static bool is_leaf_of(const struct table *t, uint32_t l, uint64_t address)
{
    return l < t->leaf_count && (t->first[l] <= address || !l) &&
           (l + 1 == t->leaf_count || t->first[l + 1] > address);
}

// The last leaf that begins at or below `address`; the first one if none does. Most calls are about
// the neighbourhood of the one before.
static uint32_t leaf_of(struct table *t, uint64_t address)
{
    uint32_t low = 0, high = t->leaf_count;

    if (is_leaf_of(t, t->last, address))
        return t->last;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (t->first[middle] <= address)
            low = middle;
        else
            high = middle;
    }
    return t->last = low;
}

// The first entry of a leaf that ends above `address`; count if none does.
static uint32_t entry_of(const struct table_leaf *leaf, uint64_t address)
{
    uint32_t low = 0, high = leaf->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (leaf->entry[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool leaf_insert(struct table *t, uint32_t at, struct table_leaf *leaf)
{
    if (t->leaf_count == TABLE_LEAVES_MAX)
        return false;
    uint32_t after = t->leaf_count - at;
    memmove(&t->leaf[at + 1], &t->leaf[at], after * sizeof t->leaf[0]);
    memmove(&t->first[at + 1], &t->first[at], after * sizeof t->first[0]);
    t->leaf[at] = leaf;
    t->leaf_count++;
    return true;
}

static void leaf_remove(struct table *t, uint32_t at)
{
    leaf_free(t->leaf[at]);
    uint32_t after = --t->leaf_count - at;
    memmove(&t->leaf[at], &t->leaf[at + 1], after * sizeof t->leaf[0]);
    memmove(&t->first[at], &t->first[at + 1], after * sizeof t->first[0]);
}

// Makes room in leaf `l` by moving its upper half to a new one behind it.
static bool leaf_split(struct table *t, uint32_t l)
{
    struct table_leaf *low = t->leaf[l], *high = leaf_new();

    if (!high)
        return false;
    if (!leaf_insert(t, l + 1, high)) {
        leaf_free(high);
        return false;
    }
    high->count = TABLE_LEAF / 2;
    low->count = TABLE_LEAF - high->count;
    memcpy(high->entry, &low->entry[low->count], high->count * sizeof high->entry[0]);
    t->first[l + 1] = high->entry[0].start;
    return true;
}

static bool insert(struct table *t, uint32_t l, uint32_t e, const struct mapping *m)
{
    if (t->leaf[l]->count == TABLE_LEAF) {
        if (!leaf_split(t, l))
            return false;
        if (e > t->leaf[l]->count)
            e -= t->leaf[l++]->count;
    }
    struct table_leaf *leaf = t->leaf[l];
    memmove(&leaf->entry[e + 1], &leaf->entry[e], (leaf->count - e) * sizeof *m);
    leaf->entry[e] = *m;
    leaf->count++;
    t->entry_count++;
    t->first[l] = leaf->entry[0].start;
    return true;
}

// Joins a leaf with the one behind it where both have become small.
static void leaf_join(struct table *t, uint32_t l)
{
    if (l + 1 >= t->leaf_count)
        return;
    struct table_leaf *low = t->leaf[l], *high = t->leaf[l + 1];
    if (low->count + high->count > TABLE_LEAF / 2)
        return;
    memcpy(&low->entry[low->count], high->entry, high->count * sizeof high->entry[0]);
    low->count += high->count;
    leaf_remove(t, l + 1);
}

static void erase(struct table *t, uint32_t l, uint32_t from, uint32_t count)
{
    struct table_leaf *leaf = t->leaf[l];

    memmove(&leaf->entry[from], &leaf->entry[from + count],
            (leaf->count - from - count) * sizeof leaf->entry[0]);
    leaf->count -= count;
    t->entry_count -= count;
    if (!leaf->count) {
        leaf_remove(t, l);
        return;
    }
    t->first[l] = leaf->entry[0].start;
    leaf_join(t, l);
    if (l)
        leaf_join(t, l - 1);
}

bool table_continues(const struct mapping *a, const struct mapping *b)
{
    return a->end == b->start && a->inode && a->inode == b->inode && a->dev == b->dev &&
           a->offset + (a->end - a->start) == b->offset && a->prot == b->prot &&
           a->flags == b->flags && a->hints == b->hints;
}

static void join_used(struct mapping *into, const struct mapping *m)
{
    if (m->used > into->used)
        into->used = m->used;
}

// Does anything at or behind this place begin below `end`?
static bool is_occupied(const struct table *t, uint32_t l, uint32_t e, uint64_t end)
{
    if (e < t->leaf[l]->count)
        return t->leaf[l]->entry[e].start < end;
    return l + 1 < t->leaf_count && t->first[l + 1] < end;
}

bool table_put(struct table *t, const struct mapping *m)
{
    ASSERT(m->start < m->end);
    if (!t->leaf_count) {
        struct table_leaf *leaf = leaf_new();
        if (!leaf)
            return false;
        leaf_insert(t, 0, leaf);
    }
    uint32_t l = leaf_of(t, m->start);
    struct table_leaf *leaf = t->leaf[l];
    uint32_t e = entry_of(leaf, m->start);
    // Looked for again afterwards, and it may be another leaf.
    if (is_occupied(t, l, e, m->end))
        return table_cut(t, m->start, m->end, NULL, NULL) && table_put(t, m);
    bool below = e && table_continues(&leaf->entry[e - 1], m);
    bool above = e < leaf->count && table_continues(m, &leaf->entry[e]);
    if (below) {
        join_used(&leaf->entry[e - 1], m);
        leaf->entry[e - 1].end = above ? leaf->entry[e].end : m->end;
        if (above)
            erase(t, l, e, 1);
        return true;
    }
    if (above) {
        join_used(&leaf->entry[e], m);
        leaf->entry[e].start = m->start;
        leaf->entry[e].offset = m->offset;
        t->first[l] = leaf->entry[0].start;
        return true;
    }
    return insert(t, l, e, m);
}

static struct mapping part(const struct mapping *m, uint64_t start, uint64_t end)
{
    struct mapping p = *m;

    p.offset += start - m->start;
    p.start = start;
    p.end = end;
    return p;
}

// What begins below `start`: shortened, and its end put back behind the hole if it reaches there.
static bool cut_below(struct table *t, uint32_t l, uint32_t e, uint64_t start, uint64_t end,
                      struct mapping *piece)
{
    struct mapping *m = &t->leaf[l]->entry[e], whole = *m;

    *piece = part(&whole, start, whole.end < end ? whole.end : end);
    m->end = start;
    if (whole.end <= end)
        return true;
    struct mapping rest = part(&whole, end, whole.end);
    return insert(t, l, e + 1, &rest);
}

bool table_cut(struct table *t, uint64_t start, uint64_t end,
               void (*taken)(void *arg, const struct mapping *m), void *arg)
{
    bool ok = true;

    while (t->leaf_count) {
        uint32_t l = leaf_of(t, start);
        uint32_t e = entry_of(t->leaf[l], start);
        if (e == t->leaf[l]->count) {
            if (++l == t->leaf_count)
                break;
            e = 0;
        }
        struct mapping *m = &t->leaf[l]->entry[e], piece;
        if (m->start >= end)
            break;
        if (m->start < start) {
            ok &= cut_below(t, l, e, start, end, &piece);
        } else if (m->end > end) {
            piece = part(m, m->start, end);
            *m = part(m, end, m->end);
            t->first[l] = t->leaf[l]->entry[0].start;
        } else {
            piece = *m;
            erase(t, l, e, 1);
        }
        if (taken)
            taken(arg, &piece);
        // Most often there is one mapping, and no other to find.
        start = piece.end;
        if (start == end)
            break;
    }
    return ok;
}

struct mapping *table_find(struct table *t, uint64_t address)
{
    if (!t->leaf_count)
        return NULL;
    uint32_t l = leaf_of(t, address);
    uint32_t e = entry_of(t->leaf[l], address);
    if (e < t->leaf[l]->count)
        return &t->leaf[l]->entry[e];
    return l + 1 < t->leaf_count ? &t->leaf[l + 1]->entry[0] : NULL;
}

void table_clear(struct table *t)
{
    for (uint32_t l = 0; l < t->leaf_count; l++)
        leaf_free(t->leaf[l]);
    t->leaf_count = t->entry_count = 0;
}
