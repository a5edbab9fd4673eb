// launcher_file - a whole file in memory.
#ifndef TIDEPOOL_SHIM_LAUNCHER_FILE_H
#define TIDEPOOL_SHIM_LAUNCHER_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

// What can be read from it, up to `max` bytes, with a NUL behind; "-" is the standard input. NULL
// with errno where that fails, EFBIG where there is more.
char *file_read(const char *path, size_t max, size_t *size, struct stat *st);

#endif
