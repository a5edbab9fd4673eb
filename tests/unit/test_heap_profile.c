// The writer's text, compared line by line; what it says about this process, by looking.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/heap/heap_profile.h"
#include "export/heap/modules.h"
#include "export/heap/sites.h"

static const struct heap_profile_info info = {.why = "test",
                                              .interval_bytes = 524288,
                                              .samples = 3,
                                              .dropped = 1,
                                              .outside_bytes = 4096,
                                              .unix_s = 12};

static char text[1 << 20];

static void read_back(int fd)
{
    ssize_t n = pread(fd, text, sizeof text - 1, 0);

    cr_assert(n >= 0);
    text[n] = '\0';
}

static int scratch(void)
{
    char name[] = "/tmp/tidepool-test-XXXXXX";
    int fd = mkstemp(name);

    cr_assert(fd >= 0);
    unlink(name);
    return fd;
}

static void two_sites(void)
{
    uintptr_t first[] = {0x1001, 0x2002}, second[] = {0x3003};
    uint32_t gone;

    sites_add(sites_stack(first, 2), 1000, 0.5);
    gone = sites_add(sites_stack(first, 2), 300, 1);
    sites_remove(gone);
    gone = sites_add(sites_stack(second, 1), 70, 0.1);
    sites_remove(gone);
}

static bool has(const char *part)
{
    return strstr(text, part) != NULL;
}

static void begins_with(const char *want)
{
    cr_assert(eq(int, strncmp(text, want, strlen(want)), 0), "got:\n%.400s", text);
}

Test(heap_profile, begins_with_the_sums_and_what_wrote_it)
{
    char want[400];
    int fd = scratch();

    two_sites();
    cr_assert(eq(int, heap_profile_write(fd, &info), 0));
    read_back(fd);
    snprintf(want, sizeof want,
             "heap_v2/1\n  t*: 2: 2000 [13: 3000]\n# tidepool " TIDEPOOL_VERSION
             ", written at test\n# pid %d\n# unix_seconds 12\n# interval_bytes 524288\n"
             "# samples 3\n# dropped 1\n# outside_bytes 4096\n# build-id /",
             getpid());
    begins_with(want);
}

Test(heap_profile, has_an_entry_for_each_stack_that_ever_took_any)
{
    int fd = scratch();

    two_sites();
    cr_assert(eq(int, heap_profile_write(fd, &info), 0));
    read_back(fd);
    cr_expect(has("\n@ 0x1001 0x2002\n  t*: 2: 2000 [3: 2300]\n"), "%s", text);
    cr_expect(has("\n@ 0x3003\n  t*: 0: 0 [10: 700]\n"));
}

Test(heap_profile, ends_with_the_mappings)
{
    static char maps[1 << 18];
    int fd = scratch(), from = open("/proc/self/maps", O_RDONLY);
    char *found;

    cr_assert(eq(int, heap_profile_write(fd, &info), 0));
    read_back(fd);
    size_t n = (size_t)read(from, maps, 1000);
    found = strstr(text, "\n\nMAPPED_LIBRARIES:\n");
    cr_assert(ne(ptr, found, NULL));
    cr_expect(eq(int, strncmp(found + strlen("\n\nMAPPED_LIBRARIES:\n"), maps, n), 0));
    cr_expect(has("[stack]"));
}

Test(heap_profile, names_the_build_id_that_readelf_names)
{
    char want[4400], exe[4096], id[200];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    int fd = scratch();
    FILE *readelf;

    exe[n] = '\0';
    snprintf(want, sizeof want, "readelf -n '%s' | sed -n 's/.*Build ID: //p'", exe);
    readelf = popen(want, "r");
    cr_assert(readelf && fgets(id, sizeof id, readelf));
    pclose(readelf);
    cr_assert(eq(int, heap_profile_write(fd, &info), 0));
    read_back(fd);
    snprintf(want, sizeof want, "\n# build-id %s %s", exe, id);
    cr_expect(has(want), "%s", want);
}

Test(heap_profile, folds_what_is_live_outermost_first)
{
    int fd = scratch();

    two_sites();
    cr_assert(eq(int, heap_profile_write_folded(fd), 0));
    read_back(fd);
    cr_expect(eq(int, strcmp(text, "?+0x2002;?+0x1001 2000\n"), 0), "%s", text);
}

Test(heap_profile, writes_names)
{
    const char *name = "python\tmain\t/my file.py\t7";
    uintptr_t frame[] = {sites_name(name, strlen(name)), 0x2002};
    char line[128];
    int fd = scratch();

    sites_add(sites_stack(frame, 2), 1000, 1);
    cr_assert(eq(int, heap_profile_write(fd, &info), 0));
    read_back(fd);
    snprintf(line, sizeof line, "\n# name 0x%zx %s\n", (size_t)frame[0], name);
    cr_expect(has(line), "%s", text);
    snprintf(line, sizeof line, "\n@ 0x%zx 0x2002\n", (size_t)frame[0]);
    cr_expect(has(line), "%s", text);
    fd = scratch();
    cr_assert(eq(int, heap_profile_write_folded(fd), 0));
    read_back(fd);
    cr_expect(has("?+0x2002;python:main:/my_file.py:7 1000\n"), "%s", text);
}

// A worker of Criterion's has a name of its own, but not a file of its own.
Test(heap_profile, folds_code_by_file_and_offset)
{
    uintptr_t pc[] = {(uintptr_t)&gnu_get_libc_version + 1, (uintptr_t)&two_sites + 1}, offset[2];
    const char *name[2];
    char want[300];
    int fd = scratch();

    for (int i = 0; i < 2; i++) {
        modules_find(pc[i], &name[i], &offset[i]);
        cr_expect(offset[i] < pc[i]);
    }
    cr_expect(eq(int, strcmp(name[0], "libc.so.6"), 0));
    cr_expect(eq(int, strcmp(name[1], "test_heap_profile"), 0));
    sites_add(sites_stack(pc, 2), 64, 1);
    cr_assert(eq(int, heap_profile_write_folded(fd), 0));
    read_back(fd);
    snprintf(want, sizeof want, "test_heap_profile+0x%lx;libc.so.6+0x%lx 64\n", offset[1],
             offset[0]);
    cr_expect(eq(int, strcmp(text, want), 0), "%s", text);
}

static unsigned files_in(const char *dir)
{
    unsigned n = 0;
    DIR *d = opendir(dir);

    cr_assert(ne(ptr, d, NULL));
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

Test(heap_profile, a_dump_is_two_files_for_their_owner_alone)
{
    char dir[] = "/tmp/tidepool-test-XXXXXX", path[200], file[300];
    struct stat s;

    two_sites();
    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    umask(0);
    cr_assert(eq(int, heap_profile_dump(dir, &(unsigned){7}, &info, path, sizeof path), 0));
    snprintf(file, sizeof file, "%s/tidepool-%d-7", dir, getpid());
    cr_expect(eq(str, path, file));
    snprintf(file, sizeof file, "%s.heap", path);
    cr_assert(eq(int, stat(file, &s), 0));
    cr_expect(eq(uint, s.st_mode & 0777, 0600));
    cr_expect(eq(uint, files_in(dir), 2));
    heap_profile_remove(dir, 7);
    cr_expect(eq(uint, files_in(dir), 0));
    rmdir(dir);
}

Test(heap_profile, what_another_of_this_pid_left_is_left_alone)
{
    char dir[] = "/tmp/tidepool-test-XXXXXX", path[200];

    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    cr_expect(eq(uint, heap_profile_taken(dir), 0));
    for (unsigned n = 1; n <= 16; n++) {
        cr_assert(eq(int, heap_profile_dump(dir, &(unsigned){n}, &info, path, sizeof path), 0));
        cr_expect(eq(uint, heap_profile_taken(dir), n < 16 ? n : 0));
    }
    heap_profile_remove(dir, 3);
    cr_expect(eq(uint, heap_profile_taken(dir), 2));
    for (unsigned n = 1; n <= 16; n++)
        heap_profile_remove(dir, n);
    rmdir(dir);
}

Test(heap_profile, a_failure_leaves_nothing_behind)
{
    char dir[] = "/tmp/tidepool-test-XXXXXX", path[200];
    struct rlimit limit = {2000, RLIM_INFINITY};

    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    cr_expect(eq(int,
                 heap_profile_dump("/nowhere/at/all", &(unsigned){1}, &info, path, sizeof path),
                 -ENOENT));
    // Writing beyond it would be a signal.
    setrlimit(RLIMIT_FSIZE, &limit);
    cr_expect(eq(int, heap_profile_dump(dir, &(unsigned){1}, &info, path, sizeof path), -EFBIG));
    cr_expect(eq(uint, files_in(dir), 0));
    rmdir(dir);
}

Test(heap_profile, nobodys_link_is_followed)
{
    char dir[] = "/tmp/tidepool-test-XXXXXX", path[200], link[300];
    struct stat s;

    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    snprintf(link, sizeof link, "%s/tidepool-%d-1.heap.tmp", dir, getpid());
    cr_assert(eq(int, symlink("/tmp/tidepool-test-victim", link), 0));
    cr_expect(eq(int, heap_profile_dump(dir, &(unsigned){1}, &info, path, sizeof path), 0));
    cr_expect(ne(int, stat("/tmp/tidepool-test-victim", &s), 0));
    heap_profile_remove(dir, 1);
    rmdir(dir);
}
