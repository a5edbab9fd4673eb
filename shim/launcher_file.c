// launcher_file - reads until the end: a profile may come through a pipe.

#include "shim/launcher_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/launcher_intern.h"

char *file_read(const char *path, size_t max, size_t *size, struct stat *st)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t room = 0, used = 0;
    char *text = room_for(NULL, &room, 1, 1);
    ssize_t n = fstat(fd, st);
    if (n == 0)
        do {
            text = room_for(text, &room, used + 65536, 1);
            n = read(fd, text + used, room - used - 1);
            used += n > 0 ? (size_t)n : 0;
        } while ((n > 0 && used <= max) || (n < 0 && errno == EINTR));
    int err = n < 0 ? errno : used > max ? EFBIG : 0;
    close(fd);
    if (err) {
        free(text);
        errno = err;
        return NULL;
    }
    text[used] = '\0';
    *size = used;
    return text;
}
