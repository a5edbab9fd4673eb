// file - reads until the end: a profile may come through a pipe.

#include "shim/cli/profile/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/cli/profile/intern.h"

static int checked(int fd, struct stat *st)
{
    if (fd < 0 || fstat(fd, st) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

int file_open(const char *path, struct stat *st)
{
    return checked(strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC),
                   st);
}

int file_open_owned(const char *path, uid_t owner)
{
    struct stat st;
    int fd = checked(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), &st);
    if (fd < 0 || (S_ISREG(st.st_mode) && st.st_uid == owner))
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

char *file_read(int fd, size_t max, size_t *size)
{
    size_t room = 0, used = 0;
    char *text = NULL;
    ssize_t n;
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
