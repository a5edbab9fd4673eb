// The table of file mappings, where notes about a move were lost or a move was undone.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mfile/calls.h"
#include "mfile/mfile.h"
#include "mfile/record/record.h"

#define BYTES 4096

static uint64_t map_file(void)
{
    char name[] = "/tmp/test_record.XXXXXX";
    int fd = mkstemp(name);

    cr_assert(ge(int, fd, 0));
    cr_assert(eq(int, ftruncate(fd, BYTES), 0));
    void *at = calls_mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
    unlink(name);
    close(fd);
    return (uint64_t)(uintptr_t)at;
}

Test(record, what_a_lost_note_left_aside_is_forgotten_by_the_next_check)
{
    mfile_init(&(struct mfile_options){.policy = "*.never=random", .record = true});
    uint64_t at = map_file();

    cr_assert(record_check(true));
    for (int i = 0; i < 100; i++) {
        record_lift(at, at + BYTES);
        cr_assert(record_check(true));
    }
    uint64_t number = record_lift(at, at + BYTES);
    cr_expect(not(record_is_doubtful()));
    record_drop(number, at, at + BYTES, at, BYTES, false);
    cr_expect(not(record_is_doubtful()));
}

Test(record, an_answer_is_not_for_a_mapping_that_went_away_and_came_back)
{
    const uint64_t at = 1ull << 40, away = at + 16 * BYTES;
    struct mapping asked;

    mfile_init(&(struct mfile_options){.policy = "*.never=random", .record = true});
    cr_assert(record_check(true));
    record_put(&(struct mapping){.start = at, .end = at + BYTES, .flags = MAPPING_FRESH});
    cr_assert(eq(u32, record_fresh(&asked, 1), 1));
    record_drop(record_lift(at, at + BYTES), at, at + BYTES, away, BYTES, false);
    // Here the kernel's list is read: nothing lies where the mapping was asked for.
    record_drop(record_lift(away, away + BYTES), away, away + BYTES, at, BYTES, false);
    cr_expect(not(record_answer(&asked, NULL)));
    cr_expect(eq(u32, record_fresh(&asked, 1), 1), "the mapping is asked for once more");
}

Test(record, nor_for_a_twin_that_came_to_lie_in_its_place)
{
    const uint64_t at = 1ull << 40;
    struct mapping asked, again[2];

    mfile_init(&(struct mfile_options){.policy = "*.never=random", .record = true});
    cr_assert(record_check(true));
    record_put(&(struct mapping){.start = at, .end = at + 2 * BYTES, .flags = MAPPING_FRESH});
    cr_assert(eq(u32, record_fresh(&asked, 1), 1));
    record_remove(at, at + BYTES);
    record_copy(at + BYTES, at, BYTES);
    cr_expect(not(record_answer(&asked, NULL)));
    cr_expect(eq(u32, record_fresh(again, 2), 2), "both are asked for");
}
