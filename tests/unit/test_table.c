// The table of mappings against a model that knows every page by itself: after each of many random
// puts and cuts both must agree. Then the cases that random ones may miss, by name.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "mfile/record/table.h"

#define PAGE 4096ull
#define PAGES 3000u
#define BASE 0x7f0000000000ull

static struct table table;

static void clear(void)
{
    table_clear(&table);
}

TestSuite(table, .fini = clear);

static struct mapping mapping(uint64_t page, uint64_t pages, uint64_t inode, uint64_t offset)
{
    return (struct mapping){.start = BASE + page * PAGE,
                            .end = BASE + (page + pages) * PAGE,
                            .inode = inode,
                            .offset = offset * PAGE};
}

// Which page of which file each page is; inode 0: not mapped.
static struct {
    uint64_t inode, offset;
} model[PAGES];

static void model_set(uint64_t page, uint64_t pages, uint64_t inode, uint64_t offset)
{
    for (uint64_t i = 0; i < pages; i++) {
        model[page + i].inode = inode;
        model[page + i].offset = (offset + i) * PAGE;
    }
}

static void expect_model(void)
{
    uint64_t at = 0;
    unsigned entries = 0;

    for (struct mapping *m = table_find(&table, 0); m; m = table_find(&table, m->end)) {
        uint64_t page = (m->start - BASE) / PAGE, end = (m->end - BASE) / PAGE;
        entries++;
        cr_assert(page >= at && page < end && end <= PAGES, "out of order or empty: %lu-%lu", page,
                  end);
        for (; at < page; at++)
            cr_assert(model[at].inode == 0, "page %lu is missing", at);
        for (; at < end; at++)
            cr_assert(model[at].inode == m->inode &&
                          model[at].offset == m->offset + (at - page) * PAGE,
                      "page %lu is another", at);
    }
    for (; at < PAGES; at++)
        cr_assert(model[at].inode == 0, "page %lu is missing at the end", at);
    cr_assert(eq(uint, entries, table.entry_count));
}

static void expect_well_kept(void)
{
    unsigned entries = 0;

    for (unsigned l = 0; l < table.leaf_count; l++) {
        cr_assert(table.leaf[l]->count > 0 && table.leaf[l]->count <= TABLE_LEAF);
        cr_assert(table.first[l] == table.leaf[l]->entry[0].start);
        entries += table.leaf[l]->count;
    }
    cr_assert(eq(uint, entries, table.entry_count));
}

Test(table, says_what_a_model_says_after_each_of_many_changes)
{
    srand(7);
    for (unsigned i = 0; i < 60000; i++) {
        uint64_t page = (uint64_t)rand() % PAGES;
        // Small ones fill it with thousands of entries, large ones wipe whole leaves.
        uint64_t most = i % 97 == 0 ? PAGES : 5;
        uint64_t pages = 1 + (uint64_t)rand() % most;
        if (pages > PAGES - page)
            pages = PAGES - page;
        uint64_t inode = 1 + (uint64_t)rand() % 3, offset = (uint64_t)rand() % 50;
        // Half of the time what continues the page before it, so that neighbours join.
        if (page && model[page - 1].inode && rand() % 2) {
            inode = model[page - 1].inode;
            offset = model[page - 1].offset / PAGE + 1;
        }
        if (rand() % 3) {
            struct mapping m = mapping(page, pages, inode, offset);
            cr_assert(table_put(&table, &m));
            model_set(page, pages, inode, offset);
        } else {
            cr_assert(
                table_cut(&table, BASE + page * PAGE, BASE + (page + pages) * PAGE, NULL, NULL));
            model_set(page, pages, 0, 0);
        }
        if (i % 61 == 0) {
            expect_model();
            expect_well_kept();
        }
    }
    expect_model();
}

static struct mapping pieces[8];
static unsigned piece_count;

static void keep(void *arg, const struct mapping *m)
{
    (void)arg;
    pieces[piece_count++] = *m;
}

Test(table, hands_over_the_pieces_that_it_cuts_and_no_more)
{
    struct mapping a = mapping(0, 10, 1, 100), b = mapping(10, 10, 2, 0), c = mapping(30, 4, 3, 7);
    table_put(&table, &a);
    table_put(&table, &b);
    table_put(&table, &c);
    piece_count = 0;
    cr_assert(table_cut(&table, BASE + 8 * PAGE, BASE + 31 * PAGE, keep, NULL));
    cr_assert(eq(uint, piece_count, 3));
    cr_expect(pieces[0].start == BASE + 8 * PAGE && pieces[0].end == a.end);
    cr_expect(eq(u64, pieces[0].offset, 108 * PAGE));
    cr_expect(pieces[1].start == b.start && pieces[1].end == b.end);
    cr_expect(pieces[2].start == c.start && pieces[2].end == BASE + 31 * PAGE);
    struct mapping *left = table_find(&table, BASE), *right = table_find(&table, left->end);
    cr_expect(left->end == BASE + 8 * PAGE && right->start == BASE + 31 * PAGE);
    cr_expect(eq(u64, right->offset, 8 * PAGE));
    cr_expect(table_find(&table, right->end) == NULL);
}

Test(table, a_hole_in_the_middle_leaves_both_ends)
{
    struct mapping m = mapping(5, 10, 1, 0);
    table_put(&table, &m);
    table_cut(&table, BASE + 8 * PAGE, BASE + 9 * PAGE, NULL, NULL);
    struct mapping *low = table_find(&table, BASE), *high = table_find(&table, low->end);
    cr_expect(low->end == BASE + 8 * PAGE && high->start == BASE + 9 * PAGE);
    cr_expect(eq(u64, high->offset, 4 * PAGE));
    // And filled again with what was there it is one.
    struct mapping fill = mapping(8, 1, 1, 3);
    table_put(&table, &fill);
    cr_expect(eq(uint, table.entry_count, 1));
}

Test(table, files_that_are_not_known_are_never_joined)
{
    struct mapping a = mapping(0, 1, 0, 0), b = mapping(1, 1, 0, 1);
    table_put(&table, &a);
    table_put(&table, &b);
    cr_expect(eq(uint, table.entry_count, 2));
}

Test(table, holds_a_hundred_thousand_and_none_again)
{
    for (uint64_t i = 0; i < 100000; i++) {
        // From both ends and the middle, as kernels hand addresses out.
        struct mapping m = mapping(i * 7919 % 100000 * 2, 1, 0, 0);
        cr_assert(table_put(&table, &m));
    }
    cr_assert(eq(uint, table.entry_count, 100000));
    expect_well_kept();
    for (uint64_t i = 0; i < 100000; i++)
        table_cut(&table, BASE + i * 2 * PAGE, BASE + (i * 2 + 1) * PAGE, NULL, NULL);
    cr_assert(eq(uint, table.entry_count, 0));
    cr_assert(eq(uint, table.leaf_count, 0));
}

Test(table, a_full_directory_refuses_and_stays_whole)
{
    uint64_t i = 0;
    struct mapping m;
    do {
        m = mapping(i++ * 2, 1, 0, 0);
    } while (table_put(&table, &m) && i < 2000000);
    cr_assert(i < 2000000, "it never became full");
    cr_expect(gt(uint, table.entry_count, 200000));
    expect_well_kept();
    table_clear(&table);
    cr_expect(table_put(&table, &m));
}
