// private_fd - descriptors of our own, above the program's, each remembered by its file.
//
// A program may close any number, and the kernel gives it to the next file. fstat tells files
// apart. It cannot tell eventfds, signalfds and their like apart: they are all one inode.
#ifndef TIDEPOOL_PRESSURE_KERNEL_PRIVATE_FD_H
#define TIDEPOOL_PRESSURE_KERNEL_PRIVATE_FD_H

#include <stdbool.h>
#include <sys/types.h>

// Duplicates `fd` at 512 or above, or as high as RLIMIT_NOFILE allows, and closes `fd`. Returns the
// new descriptor or -errno.
int private_fd_move(int fd);

// Like private_fd_move(), but `fd` stays open.
int private_fd_copy(int fd);

// What to remember of it. 0 or -errno.
int private_fd_identify(int fd, dev_t *dev, ino_t *ino);

// Is that number still this file? Leaves the file alone.
bool private_fd_is(int fd, dev_t dev, ino_t ino);

#endif
