// /proc/self/maps: lines as kernels write them, lines that no kernel should write, and the real
// file.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mfile/advise.h"
#include "mfile/parse/maps.h"

static bool parse(const char *text, struct maps_line *out)
{
    static char copy[400];
    strcpy(copy, text);
    return maps_parse(copy, out);
}

Test(maps, reads_a_line)
{
    struct maps_line l;
    cr_assert(parse("7f00a000-7f00c000 r-xp 0001f000 fe:01 12345678   /usr/lib/a b.so", &l));
    cr_expect(l.start == 0x7f00a000 && l.end == 0x7f00c000 && l.offset == 0x1f000);
    cr_expect(l.prot == (PROT_READ | PROT_EXEC) && !l.shared);
    cr_expect(eq(u32, l.dev, 0xfeu << 20 | 1));
    cr_expect(eq(u64, l.inode, 12345678));
    cr_expect(strcmp(l.path, "/usr/lib/a b.so") == 0);
    cr_assert(parse("1000-2000 rw-s 00000000 00:1a 7 ", &l));
    cr_expect(l.shared && l.path[0] == '\0');
    cr_assert(parse("ffffffffff600000-ffffffffff601000 --xp 0 00:00 0    [vsyscall]", &l));
}

Test(maps, leaves_out_what_is_no_line)
{
    static const char *const wrong[] = {
        "",
        "x",
        "1000",
        "1000-",
        "1000-2000",
        "1000-2000 ",
        "1000-2000 rw-",
        "2000-1000 rw-p 0 0:0 0",
        "1000-1000 rw-p 0 0:0 0",
        "1000-2000 rw-p",
        "1000-2000 rw-p 0",
        "1000-2000 rw-p 0 0:",
        "1000-2000 rw-p 0 0:0 ",
        "1000-2000 rw-p 0 0:0 99999999999999999999999",
        "11111111111111111-2 rw-p 0 0:0 0",
        "1000-2000 rw-p 0 00:00 x",
    };
    struct maps_line l;
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_expect(false == parse(wrong[i], &l), "taken: \"%s\"", wrong[i]);
}

Test(maps, knows_what_only_looks_like_a_file)
{
    struct maps_line l;
    parse("1000-2000 rw-s 0 00:01 5 /dev/zero (deleted)", &l);
    cr_expect(false == maps_is_file(&l));
    parse("1000-2000 rw-s 0 00:01 5 /SYSV00000000 (deleted)", &l);
    cr_expect(false == maps_is_file(&l));
    parse("1000-2000 rw-p 0 00:00 0 [heap]", &l);
    cr_expect(false == maps_is_file(&l));
    parse("1000-2000 rw-s 0 00:01 5 /memfd:x (deleted)", &l);
    cr_expect(maps_is_file(&l));
}

struct want {
    uint64_t start, end, inode;
    uint32_t dev;
    bool found;
    unsigned lines;
};

static bool look(void *arg, const struct maps_line *l)
{
    struct want *w = arg;
    w->lines++;
    if (l->start == w->start)
        w->found = l->end == w->end && l->inode == w->inode && l->dev == w->dev && l->shared;
    return true;
}

Test(maps, finds_a_mapping_of_the_process_among_thousands)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    struct stat st;
    fstat(fd, &st);
    for (int i = 0; i < 3000; i++)
        mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *at = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    struct want w = {(uint64_t)(uintptr_t)at,
                     (uint64_t)(uintptr_t)at + 8192,
                     st.st_ino,
                     major(st.st_dev) << 20 | minor(st.st_dev),
                     false,
                     0};
    cr_assert(eq(int, maps_read(look, &w), 0));
    cr_expect(w.found);
    cr_expect(gt(uint, w.lines, 2000));
}

Test(maps, tells_the_path_of_a_descriptor_even_of_a_deleted_file)
{
    char name[] = "/tmp/test_maps.XXXXXX", path[256];
    int fd = mkstemp(name);
    cr_assert(gt(int, maps_path_of_fd(fd, path, sizeof path), 0));
    cr_expect(strcmp(path, name) == 0);
    unlink(name);
    cr_assert(eq(int, maps_path_of_fd(fd, path, sizeof path), (int)strlen(name)));
    cr_expect(strcmp(path, name) == 0);
    cr_expect(lt(int, maps_path_of_fd(12345, path, sizeof path), 0));
}

Test(advise, pages_lie_inside_where_memory_goes_and_around_where_it_comes)
{
    uint64_t s, e;
    cr_assert(advise_pages(0x1001, 0x2fff, true, &s, &e));
    cr_expect(s == 0x2000 && e == 0x4000);
    cr_assert(advise_pages(0x1001, 0x2fff, false, &s, &e));
    cr_expect(s == 0x1000 && e == 0x4000);
    cr_expect(false == advise_pages(0x1001, 0xffe, true, &s, &e));
    cr_expect(false == advise_pages(0x1000, 0, false, &s, &e));
    cr_expect(false == advise_pages(UINT64_MAX - 10, 100, false, &s, &e));
    cr_expect(false == advise_pages(UINT64_MAX - 10, 10, true, &s, &e));
    cr_expect(false == advise_pages(UINT64_MAX - 10, 5, false, &s, &e));
}
