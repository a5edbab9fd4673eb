// regroup MIB FILE TEXT: fills MIB in buffers, frees them, and is given less room: TEXT is written
// into FILE, a limit's, or (0) another cgroup's cgroup.procs. Then the sizes shift, with MIB live
// at most, from the first moment on.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/survival/load.h"

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        load_die(path);
    close(fd);
}

static void fill_and_free(size_t bytes, size_t size)
{
    struct block_list blocks = load_fill((struct load_kind){size, size}, bytes, 1);

    load_give_all(&blocks);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {3000, 9000, 30000, 100000, 300000, 900000, 5000000, 200};

    if (argc != 4)
        return 2;
    size_t bytes = load_start(argc, argv);
    fill_and_free(bytes, 65536);
    // The watchdog has nothing to look at for a while.
    usleep(200000);
    write_text(argv[2], argv[3]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        fill_and_free(bytes, sizes[i]);
    return 0;
}
