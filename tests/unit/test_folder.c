// Files of the metrics' folder, while others change the names there.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "export/textfile/folder.h"

enum { RACES = 30, SECONDS = 20 };

static _Atomic bool done;
static char place[] = "/tmp/test_folder.XXXXXX";

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");

    while (d && readdir(d))
        count++;
    closedir(d);
    return count;
}

// As the process that the file is of does.
static void *replace(void *unused)
{
    int dir = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);

    while (!atomic_load(&done)) {
        close(openat(dir, "new", O_CREAT | O_WRONLY, 0600));
        renameat(dir, "new", dir, "old");
    }
    close(dir);
    return unused;
}

Test(folder, a_file_that_is_replaced_while_it_is_opened_is_closed)
{
    char text[16];
    struct stat st;
    pthread_t other;
    unsigned races = 0;

    cr_assert(ne(ptr, mkdtemp(place), NULL));
    int dir = folder_open(place);
    cr_assert(dir >= 0);
    unsigned before = open_files();
    pthread_create(&other, NULL, replace, NULL);
    time_t end = time(NULL) + SECONDS;
    while (races < RACES && time(NULL) < end)
        races += folder_read(dir, "old", text, sizeof text, &st) == -EBADF;
    atomic_store(&done, true);
    pthread_join(other, NULL);
    unsigned after = open_files();
    folder_remove(dir, "old");
    folder_close(dir);
    rmdir(place);
    if (!races)
        cr_skip_test("no race in %d s", SECONDS);
    cr_expect(eq(uint, after, before), "after %u races", races);
}
