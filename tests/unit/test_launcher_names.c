// Names: shortened, hidden, and written so that nothing downstream is misled.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "shim/cli/common/out.h"
#include "shim/cli/profile/hide.h"
#include "shim/cli/profile/names.h"

// Criterion's own comparison takes no constant strings.
#define same(a, b) cr_assert(strcmp(a, b) == 0, "\"%s\", expected \"%s\"", a, b)

TestSuite(names, .timeout = 30);

struct pair {
    const char *from, *to;
};

static const struct pair shortened[] = {
    {"main", "main"},
    {"void store::Cache::fill<long>(unsigned long, unsigned long)", "store::Cache::fill<long>"},
    {"store::(anonymous namespace)::blobs(unsigned long)", "store::blobs"},
    {"(anonymous namespace)::f()", "f"},
    {"main::{lambda(int)#1}::operator()(int) const", "main::{lambda(int)#1}::operator()"},
    {"std::ostream& operator<< <int>(std::ostream&, int)", "operator<< <int>"},
    {"A::operator bool() const", "A::operator bool"},
    {"f(std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> > const&)",
     "f"},
    {"g<std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> > >()",
     "g<std::string>"},
    {"operator new(unsigned long)", "operator new"},
    {"LazyCompile:*f /a/b.js:1:2", "LazyCompile:*f /a/b.js:1:2"},
    {"libc.so.6+0x1234", "libc.so.6+0x1234"},
    {"Function:~f node:internal/a (b)", "Function:~f node:internal/a (b)"},
    {"f(int) [clone .cold]", "f(int) [clone .cold]"},
    {"a::f(int) [clone .cold]", "a::f"},
    {"a::b ", "a::b "},
    {"<<<::", "<<<::"},
    {")))::(((", ")))::((("},
    {"()", "()"},
    {"", ""},
};

Test(names, are_shortened)
{
    char out[256];
    for (size_t i = 0; i < sizeof shortened / sizeof *shortened; i++) {
        name_shorten(shortened[i].from, out, sizeof out);
        same(out, shortened[i].to);
    }
}

Test(names, shortening_is_bounded)
{
    char out[6];
    name_shorten("abcdefgh", out, sizeof out);
    same(out, "abcde");
}

Test(names, of_symbols_lose_the_compilers_suffix)
{
    char *name = name_demangle("bn_expand2.part.0");
    same(name, "bn_expand2");
    free(name);
    cr_assert(name_demangle(".hidden") == NULL);
}

static const struct {
    const char *function, *module;
    int hidden;
} frames[] = {
    {"malloc", "/usr/lib/libc.so.6", 1},
    {"prof_backtrace_impl", "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", 1},
    {"anything", "/opt/lib/libtidepool.so", 1},
    {NULL, "/opt/lib/libtidepool.so", 1},
    {NULL, "/usr/bin/a", 0},
    {"operator new(unsigned long)", "/usr/bin/a", 1},
    {"void* v8::internal::Malloced::operator new(unsigned long)", "/usr/bin/node", 1},
    {"std::vector<int, std::allocator<int> >::reserve(unsigned long)", "/usr/bin/a", 1},
    {"void std::vector<My, std::allocator<My> >::_M_realloc_insert<My>(My&&)", "/usr/bin/a", 1},
    {"__gnu_cxx::new_allocator<int>::allocate(unsigned long, void const*)", "/usr/bin/a", 1},
    {"void fill<std::string>(std::string)", "/usr/bin/a", 0},
    {"std_like()", "/usr/bin/a", 0},
    {"mine::std::f()", "/usr/bin/a", 0},
    {"main", "/usr/bin/a", 0},
    {"malloc_consolidate_mine", "/usr/bin/a", 0},
    {"zmalloc", "/usr/bin/redis", 1},
    {"ztrymalloc_usable_internal.constprop.0", "/usr/bin/redis", 1},
    {"PyObject_Malloc", "/usr/bin/python3", 1},
    {"PyList_New", "/usr/bin/python3", 0},
    {"_IO_file_doallocate", "/usr/lib/libc.so.6", 0},
};

Test(names, of_the_way_to_the_allocator_are_hidden)
{
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        cr_assert(eq(int, hide_frame(frames[i].function, frames[i].module), frames[i].hidden), "%s",
                  frames[i].function ? frames[i].function : frames[i].module);
}

static const char *written(void (*put)(FILE *, const char *), const char *text)
{
    static char out[256];
    memset(out, 0, sizeof out);
    FILE *f = fmemopen(out, sizeof out, "w");
    put(f, text);
    fclose(f);
    return out;
}

static void plain10(FILE *f, const char *text)
{
    out_plain(f, text, 10);
}

Test(names, reach_the_terminal_without_its_commands)
{
    same(written(plain10, "a\033[2Jb\nc\x7f"), "a?[2Jb?c?");
    same(written(plain10, "\xc2\x9b[31m"), "?[31m");
    same(written(plain10, "x\xe2\x80\xae-"), "x?-");
    same(written(plain10, "na\xc3\xafve"), "na\xc3\xafve");
    same(written(plain10, "\xff\xc3"), "??");
    same(written(plain10, "\xed\xa0\x80\xc0\xaf"), "?????");
    same(written(plain10, "abcdefghijk"), "abcdefg...");
    same(written(plain10, "abcdefghij"), "abcdefghij");
}

Test(names, are_plain_in_messages)
{
    char out[8];
    same(out_plain_text(out, sizeof out, "/a\033[2J"), "/a?[2J");
    same(out_plain_text(out, sizeof out, "123456\xc3\xa4"), "123456");
    same(out_plain_text(out, sizeof out, "12345678"), "1234567");
}

Test(names, are_valid_json_and_end_no_script)
{
    same(written(out_json, "a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    same(written(out_json, "</script>&"), "\"\\u003c/script\\u003e\\u0026\"");
    same(written(out_json, "\xff\xe2\x80\xa8"), "\"\\ufffd\\u2028\"");
}

static const struct {
    double bytes;
    const char *text;
} sizes[] = {
    {0, "0B"},         {1023, "1023B"},       {1024, "1.0K"},   {1536, "1.5K"},
    {1048575, "1.0M"}, {104857600, "100.0M"}, {0x1p60, "1.0E"}, {0x1p70, "1024.0E"},
};

Test(names, of_sizes_are_short)
{
    char room[OUT_SIZE_MAX];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        same(out_size(room, sizes[i].bytes), sizes[i].text);
    same(out_change(room, -1536), "-1.5K");
    same(out_change(room, 1536), "+1.5K");
}
