// The calls around malloc that glibc has: they answer, their numbers follow what happens, and a
// program that asks for a trim gets one.

#include "tests/preload/victim.h"

#include <fcntl.h>
#include <malloc.h>

// mallinfo is deprecated for its ints, and still called.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void xml_is_written(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    CHECK(malloc_info(0, f) == 0, "malloc_info");
    fclose(f);
    CHECK(strstr(text, "<malloc") && strstr(text, "</malloc>"), "malloc_info wrote: %.100s", text);
    free(text);
    errno = 0;
    CHECK(malloc_info(1, stdout) != 0, "malloc_info takes no options");
}

static void stats_go_to_stderr(void)
{
    int saved = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, 2);
    malloc_stats();
    fflush(stderr);
    dup2(saved, 2);
    close(null);
    close(saved);
}

static void numbers_follow(size_t size)
{
    struct mallinfo2 before = mallinfo2();
    void *p[64];
    size_t count = 64 * MIB / size;
    for (size_t i = 0; i < count; i++) {
        p[i] = malloc(size);
        memset(p[i], 1, size);
    }
    struct mallinfo2 during = mallinfo2();
    CHECK(during.uordblks + during.hblkhd >= before.uordblks + before.hblkhd + 60 * MIB,
          "64 MiB more are in use, yet %zu+%zu became %zu+%zu", before.uordblks, before.hblkhd,
          during.uordblks, during.hblkhd);
    for (size_t i = 0; i < count; i++)
        free(p[i]);
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks + after.hblkhd <= before.uordblks + before.hblkhd + 16 * MIB,
          "all was freed, yet %zu+%zu are in use", after.uordblks, after.hblkhd);
    struct mallinfo old = mallinfo();
    CHECK(old.uordblks >= 0, "%d", old.uordblks);
}

int main(void)
{
    xml_is_written();
    stats_go_to_stderr();
    CHECK(mallopt(M_MMAP_THRESHOLD, 65536) == 1, "mallopt of a number that glibc knows");
    CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1, "mallopt");
    CHECK(mallopt(M_ARENA_MAX, 1) == 1, "mallopt");
    numbers_follow(MIB);
    // These wait for the next request of their size.
    numbers_follow(16 * MIB);
    malloc_trim(0);
    return 0;
}
