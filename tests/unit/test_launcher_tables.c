// The reader of ELF files on this very program and on broken copies of it; what the symbolisers
// print; stacks and rows.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/cli/profile/intern.h"
#include "shim/cli/profile/stacks.h"
#include "shim/cli/report/rows.h"
#include "shim/cli/symbols/elf.h"
#include "shim/cli/symbols/lines.h"
#include "shim/cli/symbols/perfmap.h"

// Criterion's own comparison takes no constant strings.
#define same(a, b) cr_assert(strcmp(a, b) == 0, "\"%s\", expected \"%s\"", a, b)

TestSuite(tables, .timeout = 60);

Test(tables, keys_keep_their_numbers_and_places)
{
    struct intern t = {0};
    char text[16];
    const void *first = NULL;
    for (int i = 0; i < 100000; i++) {
        snprintf(text, sizeof text, "%d", i % 50000);
        cr_assert(eq(u32, intern_string(&t, text), (uint32_t)(i % 50000)));
        if (!i)
            first = intern_text(&t, 0);
    }
    cr_assert(eq(u32, t.count, 50000));
    cr_assert(intern_text(&t, 0) == first);
    same(intern_text(&t, 49999), "49999");
    intern_put(&t, "a", 0);
    cr_assert(eq(u32, intern_put(&t, "b", 0), 50000));
    intern_free(&t);
}

// A function with a name of its own in .dynsym or .symtab.
__attribute__((noinline)) int a_function_to_find(int x);
__attribute__((noinline)) int a_function_to_find(int x)
{
    return x + (int)getpid();
}

static uint64_t load_bias(void)
{
    return _r_debug.r_map->l_addr;
}

Test(tables, elf_names_the_function_at_an_address)
{
    struct elf e;
    cr_assert(eq(int, elf_open(&e, "/proc/self/exe"), 0));
    uint64_t address = (uint64_t)(uintptr_t)a_function_to_find - load_bias(), again;
    const char *name = elf_function(&e, address);
    cr_assert(name != NULL);
    same(name, "a_function_to_find");
    cr_assert(e.has_lines);
    cr_assert(eq(sz, strlen(e.build_id), 40));
    // No function covers the start of the file.
    cr_assert(elf_function(&e, 0) == NULL);
    // The text is mapped from where the program headers say.
    cr_assert(elf_address(&e, e.segments[0].offset, &again));
    cr_assert(eq(u64, again, e.segments[0].address));
    cr_assert(not(elf_address(&e, e.file_size * 2, &again)));
    elf_close(&e);
}

static size_t copy_self(unsigned char **bytes)
{
    struct stat st;
    int fd = open("/proc/self/exe", O_RDONLY);
    cr_assert(eq(int, fstat(fd, &st), 0));
    *bytes = malloc((size_t)st.st_size);
    cr_assert(eq(i64, read(fd, *bytes, (size_t)st.st_size), st.st_size));
    close(fd);
    return (size_t)st.st_size;
}

static int open_bytes(const unsigned char *bytes, size_t size)
{
    char path[] = "/tmp/tidepool-elf-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(eq(i64, write(fd, bytes, size), (ssize_t)size));
    close(fd);
    struct elf e;
    int err = elf_open(&e, path);
    if (!err) {
        elf_function(&e, 0x1234);
        elf_close(&e);
    }
    unlink(path);
    return err;
}

Test(tables, elf_survives_broken_files)
{
    unsigned char *bytes;
    size_t size = copy_self(&bytes);
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)(const void *)bytes;
    size_t sections = h->e_shoff, count = h->e_shnum * sizeof(Elf64_Shdr);
    static const size_t cuts[] = {0, 3, 16, 63, 64, 100, 5000};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        open_bytes(bytes, cuts[i]);
    cr_assert(eq(int, open_bytes(bytes, 3), -ENOEXEC));
    cr_assert(eq(int, open_bytes(bytes, size), 0));
    // Every 32-bit word of the header and every third of the sections, turned to its worst.
    for (size_t at = 16; at < sizeof *h; at += 4) {
        uint32_t old, worst = UINT32_MAX;
        memcpy(&old, bytes + at, 4);
        memcpy(bytes + at, &worst, 4);
        open_bytes(bytes, size);
        memcpy(bytes + at, &old, 4);
    }
    for (size_t at = sections; at + 4 <= sections + count && at + 4 <= size; at += 12) {
        uint32_t old, worst = 0x7ffffff1;
        memcpy(&old, bytes + at, 4);
        memcpy(bytes + at, &worst, 4);
        open_bytes(bytes, size);
        memcpy(bytes + at, &old, 4);
    }
    free(bytes);
}

Test(tables, elf_opens_regular_files_only)
{
    struct elf e;
    cr_assert(eq(int, elf_open(&e, "/dev/zero"), -ENOEXEC));
    cr_assert(eq(int, elf_open(&e, "/tmp"), -ENOEXEC));
    cr_assert(eq(int, elf_open(&e, "/no/such"), -ENOENT));
}

static char seen[1024];

static void remember(void *arg, size_t index, const struct lines_frame *frames, size_t count)
{
    (void)arg;
    for (size_t i = 0; i < count; i++)
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%zu %s %s %u\n", index,
                 frames[i].function ? frames[i].function : "-",
                 frames[i].file ? frames[i].file : "-", frames[i].line);
}

static bool parse_lines(const char *text)
{
    static const uint64_t asked[] = {0x10, 0x20, 0x30};
    char copy[1024];
    seen[0] = '\0';
    snprintf(copy, sizeof copy, "%s", text);
    return lines_parse(copy, asked, 3, remember, NULL);
}

Test(tables, lines_are_read_with_what_is_inlined)
{
    cr_assert(
        parse_lines("0x0000000000000010\ninner\n/a b/c.h:3 (discriminator 2)\nouter\n/x:y.c:9\n"
                    "0x20\n??\n??:0\n0x30\nf(int)\n/d.c:?\n"));
    same(seen, "0 inner /a b/c.h 3\n0 outer /x:y.c 9\n1 - - 0\n2 f(int) /d.c 0\n");
}

Test(tables, lines_out_of_order_are_refused)
{
    cr_assert(not(parse_lines("0x20\nf\na.c:1\n")));
    cr_assert(not(parse_lines("")));
    cr_assert(not(parse_lines("0x10\nf\na.c:1\n0x30\n")));
    cr_assert(not(parse_lines("0x10\nf")));
    cr_assert(not(parse_lines("usage: addr2line\n")));
}

Test(tables, perf_maps_name_what_runtimes_made)
{
    struct perfmap m;
    char *text =
        strdup("1000 20 LazyCompile:*f /a b.js:1\njunk\n2000 10\n3000 zz x\n10 8 g\n1000 10 new\n");
    perfmap_parse(&m, text);
    cr_assert(eq(sz, m.count, 3));
    same(perfmap_find(&m, 0x17), "g");
    cr_assert(perfmap_find(&m, 0x18) == NULL);
    same(perfmap_find(&m, 0x1005), "new");
    cr_assert(perfmap_find(&m, 0x5) == NULL);
    perfmap_free(&m);
}

// main -> f (two lines) -> g, and f by itself.
static void fill(struct stacks *s)
{
    stacks_init(s);
    uint32_t top = stacks_frame(s, "main", "m.c", 1, "/m"),
             f1 = stacks_frame(s, "f", "f.c", 1, "/m"), f2 = stacks_frame(s, "f", "f.c", 2, "/m"),
             g = stacks_frame(s, "g", "", 0, "/lib");
    stacks_add(s, (uint32_t[]){top, f1, g}, 3, SIDE_NOW, 100, 1);
    stacks_add(s, (uint32_t[]){top, f2, f1, g}, 4, SIDE_NOW, 50, 1);
    stacks_add(s, (uint32_t[]){top, f1}, 2, SIDE_NOW, 20, 2);
    stacks_add(s, (uint32_t[]){top, f2}, 2, SIDE_NOW, 20, 2);
    stacks_add(s, (uint32_t[]){top, f2}, 2, SIDE_BEFORE, 300, 3);
}

Test(tables, rows_add_up_by_site_function_and_module)
{
    static const struct {
        enum rows_by by;
        bool comparing;
        const char *first;
        double own, with;
        size_t count;
    } cases[] = {
        {BY_SITE, false, "g", 150, 150, 4},
        {BY_FUNCTION, false, "g", 150, 150, 3},
        {BY_MODULE, false, "/lib", 150, 150, 2},
        {BY_FUNCTION, true, "f", 40, 190, 3},
    };
    struct stacks s;
    fill(&s);
    cr_assert(eq(dbl, s.total.bytes[SIDE_NOW], 190));
    cr_assert(eq(dbl, s.total.bytes[SIDE_BEFORE], 300));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rows r = rows_make(&s, cases[i].by, cases[i].comparing);
        const struct row *row = &r.rows[0];
        same(stacks_text(&s, row->frame.function ? row->frame.function : row->frame.module),
             cases[i].first);
        cr_assert(eq(dbl, row->own.bytes[SIDE_NOW], cases[i].own));
        // Recursion counts once.
        cr_assert(eq(dbl, row->with.bytes[SIDE_NOW], cases[i].with));
        cr_assert(eq(sz, r.count, cases[i].count));
        rows_free(&r);
    }
    stacks_free(&s);
}

Test(tables, rows_remember_the_stack_that_holds_most)
{
    struct stacks s;
    size_t depth;
    fill(&s);
    struct rows r = rows_make(&s, BY_SITE, false);
    stacks_frames(&s, r.rows[0].stack, &depth);
    cr_assert(eq(sz, depth, 3));
    rows_free(&r);
    stacks_free(&s);
}
