// folder - the system calls of the text files. They are raw, because libc's are points of
// cancellation, and relative to a folder that is opened for one write and closed after it. Results
// are 0 or more, or -errno; errno is left alone.
#ifndef TIDEPOOL_EXPORT_TEXTFILE_FOLDER_H
#define TIDEPOOL_EXPORT_TEXTFILE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

// Not through a link in the path's last part: -ENOTDIR. Slashes behind it are ignored.
int folder_open(const char *path);
void folder_close(int fd);

// A file of this content and mode 0644, by way of `temporary`, which is gone in any case. What was
// there under `name` is replaced; nothing at all happens where that is neither a file nor a link
// (-EEXIST), or where there is no room.
int folder_replace(int dir, const char *temporary, const char *name, const char *text,
                   size_t length);

int folder_remove(int dir, const char *name);

// Of the name itself, not of what it links to.
int folder_stat(int dir, const char *name, struct stat *st);

// The start of a regular file, and which file it was.
long folder_read(int dir, const char *name, char *buf, size_t size, struct stat *st);

// Calls `each` for every name; -errno where the folder cannot be listed.
int folder_list(int dir, void (*each)(void *arg, const char *name), void *arg);

// Sets the time of a file to now, made where it is missing.
int folder_touch(int dir, const char *name);

#endif
