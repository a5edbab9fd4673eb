// maps - what the kernel says is mapped: /proc/self/maps, line by line, without stdio, allocation
// or lock. The text is input: a line that does not parse is left out.
#ifndef TIDEPOOL_MFILE_PARSE_MAPS_H
#define TIDEPOOL_MFILE_PARSE_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct maps_line {
    uint64_t start, end, offset, inode;
    uint32_t dev; // major << 20 | minor
    int prot;
    bool shared;
    // "" where there is none; without the " (deleted)" of a file that is. Valid during the call.
    const char *path;
};

// Has this line a file behind it that a program can have mapped by a descriptor? Not so SysV memory
// and what MAP_SHARED | MAP_ANONYMOUS makes, though both have an inode.
bool maps_is_file(const struct maps_line *line);

// Parses one line in place, without its newline.
bool maps_parse(char *text, struct maps_line *out);

// Calls `each` for every mapping in order, until it returns false. 0, or -errno where the file
// cannot be read (no /proc, no descriptor left).
int maps_read(bool (*each)(void *arg, const struct maps_line *line), void *arg);

// maps_read() in two steps, for callers that have to know first that it can be read. The first
// returns a descriptor or -errno, the second closes it.
int maps_open(void);
int maps_read_from(int fd, bool (*each)(void *arg, const struct maps_line *line), void *arg);

// The path behind a descriptor, as the kernel knows it; " (deleted)" is taken off a file that is.
// Its length, or -errno.
int maps_path_of_fd(int fd, char *path, size_t size);

#endif
