// file - a whole file in memory.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_FILE_H
#define TIDEPOOL_SHIM_CLI_PROFILE_FILE_H

#include <stddef.h>
#include <sys/stat.h>

// Open for reading, and what it is; "-" is the standard input. -1 with errno.
int file_open(const char *path, struct stat *st);

// Opens a regular file that belongs to `owner`: judged once it is open, so that what is read is
// what was judged. -1 also where it is another one; does not wait at a fifo.
int file_open_owned(const char *path, uid_t owner);

// What can be read, up to `max` bytes, with a NUL behind; closes the descriptor. NULL with errno
// where that fails, EFBIG where there is more.
char *file_read(int fd, size_t max, size_t *size);

#endif
