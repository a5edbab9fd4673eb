// The budget of lazy_relieve() is counted by a clock of the test's, which goes on 20 ms each time
// it is read: a call comes to two slices of 64 MiB or less. Ages are counted by another, which
// the test sets. The mappings are real, of sparse files.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mfile/advise.h"
#include "mfile/calls.h"
#include "mfile/lazy.h"
#include "mfile/mfile.h"
#include "mfile/record/record.h"

static uint64_t now;

static uint64_t tick(void)
{
    return now += 20000;
}

// In sixteenths of a second.
static uint32_t age = 1;

static uint32_t age_now(void)
{
    return age;
}

static void start(const char *policy)
{
    mfile_init(&(struct mfile_options){.policy = policy});
    lazy_now_us = tick;
    record_now = age_now;
}

static char *map_at(void *at, uint64_t bytes)
{
    char name[] = "/tmp/test_lazy.XXXXXX";
    int fd = mkstemp(name);
    cr_assert(eq(int, ftruncate(fd, (off_t)bytes), 0));
    at = calls_mmap(at, bytes, PROT_READ, at ? MAP_SHARED | MAP_FIXED : MAP_SHARED, fd, 0);
    unlink(name);
    close(fd);
    return at;
}

static char *map(uint64_t bytes)
{
    return map_at(NULL, bytes);
}

static struct mapping mapping_at(const char *at)
{
    struct mapping m = {0};
    bool ok;
    record_read((uint64_t)(uintptr_t)at, &m, 1, &ok);
    return m;
}

static unsigned count_cooled(char **at, unsigned n)
{
    unsigned cooled = 0;
    for (unsigned i = 0; i < n; i++)
        cooled += mapping_at(at[i]).cooled != 0;
    return cooled;
}

Test(lazy, goes_on_with_a_large_mapping_whatever_was_mapped_meanwhile)
{
    start("test_lazy.*=cold,random");
    char *room = mmap(NULL, 2ull << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *large = map_at(room + (1 << 20), 1ull << 30);
    for (int i = 0; i < 40 && !mapping_at(large).cooled; i++) {
        // Comes before it, each time.
        map_at(room + 4096 * i, 4096);
        lazy_relieve(LAZY_HIGH, 0);
    }
    cr_expect(mapping_at(large).cooled != 0);
}

Test(lazy, comes_to_the_last_mapping_even_if_the_first_ones_may_be_marked_again)
{
    char *at[8];
    start("test_lazy.*=cold,random");
    for (unsigned i = 0; i < 8; i++)
        at[i] = map(4096);
    for (int i = 0; i < 20 && count_cooled(at, 8) < 4; i++)
        lazy_relieve(LAZY_HIGH, 0);
    cr_assert(eq(uint, count_cooled(at, 8), 4));
    age += 3 * 16;
    lazy_relieve(LAZY_HIGH, 0);
    lazy_relieve(LAZY_HIGH, 0);
    cr_expect(eq(uint, count_cooled(at, 8), 8));
}

Test(lazy, pages_out_though_marking_takes_all_the_time_there_is)
{
    start("test_lazy.*=lazyfree,random");
    char *at = map(4096);
    cr_assert(eq(int, *at, 0));
    age += 4; // it is the one whose last use is longer ago
    map(16ull << 30);
    for (int i = 0; i < 4; i++)
        lazy_relieve(LAZY_CRITICAL, 1 << 20);
    cr_expect(advice_count(ADVICE_PAGEOUT, ADVICE_OK) > 0);
}

Test(lazy, leaves_alone_what_no_rule_names)
{
    start("other.*=lazyfree,cold");
    char *at = map(4096);
    cr_assert(eq(int, *at, 0));
    for (int i = 0; i < 4; i++)
        lazy_relieve(LAZY_CRITICAL, 1 << 20);
    cr_expect(eq(uint, mapping_at(at).cooled, 0));
    cr_expect(eq(u64, advice_count(ADVICE_COLD, ADVICE_OK), 0));
    cr_expect(eq(u64, advice_count(ADVICE_PAGEOUT, ADVICE_OK), 0));
}

Test(lazy, asks_for_a_new_mapping_after_a_second)
{
    start("test_lazy.*=cold");
    lazy_relieve(LAZY_HIGH, 0);
    char *at = map(4096);
    age += 2 * 16;
    lazy_relieve(LAZY_HIGH, 0);
    cr_expect(mapping_at(at).cooled != 0);
}
