// private_fd - descriptors of our own, above the program's, each remembered by its file.
//
// A program may close any number, and the kernel gives it to the next file. fstat tells files
// apart, but all eventfds are one inode: /proc/thread-self/fdinfo has an id for each (Linux 5.2).
#ifndef TIDEPOOL_PRESSURE_KERNEL_PRIVATE_FD_H
#define TIDEPOOL_PRESSURE_KERNEL_PRIVATE_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// Duplicates `fd` at 512 or above, or as high as RLIMIT_NOFILE allows, and closes `fd`. Returns the
// new descriptor or -errno.
int private_fd_move(int fd);

// Like private_fd_move(), but `fd` stays open.
int private_fd_copy(int fd);

// What to remember of it. eventfd_id is 0 for other files. -ENODEV for an eventfd that has no id:
// it could not be told from the program's.
int private_fd_identify(int fd, dev_t *dev, ino_t *ino, uint64_t *eventfd_id);

// Is that number still this file? Leaves the file alone.
bool private_fd_is(int fd, dev_t dev, ino_t ino, uint64_t eventfd_id);

#endif
