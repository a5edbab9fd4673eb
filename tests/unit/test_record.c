// The table of file mappings, where notes about a move were lost.

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
