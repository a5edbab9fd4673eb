// Folders like /tmp: another user has been there first, and processes that have ended left files.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "export/heap/heap_folder.h"
#include "export/heap/heap_profile.h"
#include "shim/base.h"

enum { SQUATTER = 54321, OWN = 54322, ROOM = 300 };

static const struct heap_profile_info info = {.why = "test", .interval_bytes = 524288};

static char dir[] = "/tmp/tidepool-test-XXXXXX";

static const char *in(char *out, const char *name)
{
    snprintf(out, ROOM, "%s/%s", dir, name);
    return out;
}

static void make(const char *name, const char *text)
{
    char path[ROOM];
    FILE *f = fopen(in(path, name), "w");

    cr_assert(ne(ptr, f, NULL));
    fputs(text, f);
    fclose(f);
}

static bool there(const char *name)
{
    char path[ROOM];

    return access(in(path, name), F_OK) == 0;
}

static void setup(void)
{
    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    cr_assert(eq(int, chmod(dir, 01777), 0));
}

static void teardown(void)
{
    char path[ROOM];
    DIR *d = opendir(dir);

    cr_assert(eq(int, seteuid(getuid()), 0));
    for (struct dirent *e; d && (e = readdir(d));)
        unlink(in(path, e->d_name));
    closedir(d);
    rmdir(dir);
}

TestSuite(heap_folder, .init = setup, .fini = teardown);

// As another user, all of the names that process PID would use first.
static void squat(const char *const *suffix, unsigned count)
{
    int pid = getpid(), status;

    if (fork() == 0) {
        char name[ROOM];
        if (setuid(SQUATTER) != 0)
            _exit(1);
        for (unsigned i = 0; i < count; i++) {
            snprintf(name, sizeof name, "tidepool-%d-1%s", pid, suffix[i]);
            make(name, "taken");
        }
        _exit(0);
    }
    cr_assert(wait(&status) > 0 && status == 0);
}

static void expect_untouched(const char *suffix)
{
    char name[64], path[ROOM];
    struct stat st;

    snprintf(name, sizeof name, "tidepool-%d-1%s", getpid(), suffix);
    cr_assert(eq(int, lstat(in(path, name), &st), 0), "%s is gone", name);
    cr_expect(eq(uint, st.st_uid, SQUATTER));
    cr_expect(eq(long, st.st_size, 5));
}

static void dump_past(const char *const *suffix, unsigned count, uid_t user, mode_t mode)
{
    char path[ROOM], heap[ROOM + 8];
    struct stat st;
    unsigned number = 1;

    if (getuid() != 0)
        cr_skip_test("needs root");
    chmod(dir, mode);
    squat(suffix, count);
    cr_assert(eq(int, seteuid(user), 0));
    cr_assert(eq(int, heap_profile_dump(dir, &number, &info, path, sizeof path), 0));
    cr_expect(ne(uint, number, 1));
    snprintf(heap, sizeof heap, "%s.heap", path);
    cr_assert(eq(int, lstat(heap, &st), 0));
    cr_expect(eq(uint, st.st_uid, user));
    snprintf(heap, sizeof heap, "%s.folded", path);
    cr_expect(eq(int, lstat(heap, &st), 0));
    for (unsigned i = 0; i < count; i++)
        expect_untouched(suffix[i]);
    // Nor are they removed in place of our own.
    heap_profile_remove(dir, 1);
    for (unsigned i = 0; i < count; i++)
        expect_untouched(suffix[i]);
}

static const char *const heap[] = {".heap"}, *const folded[] = {".folded"},
                         *const temporary[] = {".heap.tmp", ".folded.tmp"};

Test(heap_folder, a_name_that_another_user_took_is_not_ours)
{
    dump_past(heap, 1, OWN, 01777);
}

Test(heap_folder, nor_is_that_of_the_second_file)
{
    dump_past(folded, 1, OWN, 01777);
}

Test(heap_folder, nor_is_a_temporary_name)
{
    dump_past(temporary, 2, OWN, 01777);
}

Test(heap_folder, root_replaces_no_file_of_another_user)
{
    dump_past(heap, 1, 0, 01777);
}

Test(heap_folder, nor_does_anyone_in_a_folder_that_is_not_sticky)
{
    dump_past(heap, 1, OWN, 0777);
}

Test(heap_folder, a_link_at_the_name_is_not_followed)
{
    char path[ROOM], name[64], target[ROOM];
    unsigned number = 1;

    make("target", "taken");
    snprintf(name, sizeof name, "tidepool-%d-1.heap", getpid());
    cr_assert(eq(int, symlink(in(target, "target"), in(path, name)), 0));
    cr_assert(eq(int, heap_profile_dump(dir, &number, &info, path, sizeof path), 0));
    cr_expect(ne(uint, number, 1));
    struct stat st;
    cr_expect(eq(int, stat(in(path, "target"), &st), 0));
    cr_expect(eq(long, st.st_size, 5));
}

// A pid that no process has: that of a child that was waited for.
static int ended_pid(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    return pid;
}

static void leave(int pid, unsigned number, const char *why, time_t when)
{
    char name[64], path[ROOM], text[200];
    const struct timespec times[2] = {{when, 0}, {when, 0}};

    snprintf(text, sizeof text, "heap_v2/1\n  t*: 0: 0 [0: 0]\n# tidepool 9, written at %s\n", why);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "tidepool-%d-%u%s", pid, number, i ? ".folded" : ".heap");
        make(name, text);
        utimensat(AT_FDCWD, in(path, name), times, 0);
    }
}

static bool left(int pid, unsigned number)
{
    char name[2][64];

    for (int i = 0; i < 2; i++)
        snprintf(name[i], sizeof name[i], "tidepool-%d-%u%s", pid, number, i ? ".folded" : ".heap");
    cr_expect(eq(int, there(name[0]), there(name[1])));
    return there(name[0]);
}

Test(heap_folder, of_ended_processes_the_newest_stay)
{
    int pid = ended_pid();

    // Their names say nothing of their age.
    for (unsigned n = 1; n <= 40; n++)
        leave(pid, n, HEAP_FOLDER_PRESSURE, 1000000 + n * 7 % 41);
    heap_folder_prune(dir);
    for (unsigned n = 1; n <= 40; n++)
        cr_expect(eq(int, left(pid, n), n * 7 % 41 > 40 - HEAP_FOLDER_KEPT), "number %u", n);
}

Test(heap_folder, what_was_asked_for_and_what_a_live_process_has_stays)
{
    int pid = ended_pid();

    for (unsigned n = 1; n <= 40; n++) {
        leave(pid, n, "exit", 1000000 + n);
        leave(getpid(), n, HEAP_FOLDER_PRESSURE, 1000000 + n);
    }
    heap_folder_prune(dir);
    for (unsigned n = 1; n <= 40; n++)
        cr_expect(left(pid, n) && left(getpid(), n), "number %u", n);
}

Test(heap_folder, unfinished_files_go_and_other_names_stay)
{
    static const char *const others[] = {"tidepool-%d.prom", "tidepool-%d-1.heap.old",
                                         "tidepool-%d-.heap.tmp", "tidepool-%d-1.txt.tmp",
                                         "tidepool-%d-x.heap.tmp"};
    int pid = ended_pid();
    char name[64];

    for (unsigned i = 0; i < array_len(others); i++) {
        snprintf(name, sizeof name, others[i], pid);
        make(name, "");
    }
    snprintf(name, sizeof name, "tidepool-%d-3.heap.tmp", pid);
    make(name, "");
    heap_folder_prune(dir);
    cr_expect(not(there(name)));
    for (unsigned i = 0; i < array_len(others); i++) {
        snprintf(name, sizeof name, others[i], pid);
        cr_expect(there(name), "%s is gone", name);
    }
}
