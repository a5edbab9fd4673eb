// cgroup_find - where in the file system this process's cgroup is.
//
// /proc/self/cgroup names our place in each hierarchy, mountinfo says where which part of a
// hierarchy is to be seen. A container sees it through a bind mount, a namespace, both or neither.
// Reads only; nothing is kept open.
#ifndef TIDEPOOL_PRESSURE_USAGE_CGROUP_FIND_H
#define TIDEPOOL_PRESSURE_USAGE_CGROUP_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pressure/kernel/text.h"

#define CGROUP_PATH 4096

// One directory of a hierarchy; ancestors are its prefixes down to `mount_len`.
struct cgroup_dir {
    size_t len, mount_len;       // len 0: there is none
    char path[CGROUP_PATH + 64]; // room for a file's name behind it
};

// Our lines of /proc/self/cgroup; empty: there is none.
struct cgroup_paths {
    char v1[TEXT_LINE], v2[TEXT_LINE];
};

struct cgroup_found {
    const char *root;          // goes before /proc and every mount point; "" but in tests
    bool v2;                   // of `memory`
    struct cgroup_dir memory;  // where memory is accounted
    struct cgroup_dir unified; // our place in the v2 tree, wherever memory is: it has PSI
    uint64_t line_hash;
    struct cgroup_paths paths;
    struct cgroup_dir scratch;
};

// 0 or -errno, -ENOENT if no memory controller is visible. `found->root` is given.
int cgroup_find(struct cgroup_found *found);

// Was the process moved since?
bool cgroup_moved(const struct cgroup_found *found);

// The directory above, never above the mount.
size_t cgroup_parent(const struct cgroup_dir *dir, size_t len);

// The start of a file in the directory that is the first `len` bytes; its length or -errno.
int cgroup_read_at(struct cgroup_dir *dir, size_t len, const char *name, char *buf, size_t size);

// The path of such a file, built in place and undone by cgroup_file_done; names of at most 60
// bytes.
const char *cgroup_file_at(struct cgroup_dir *dir, size_t len, const char *name, char saved[64]);
void cgroup_file_done(struct cgroup_dir *dir, size_t len, const char *name, const char saved[64]);

// The parsers. Each takes one line, and writes into it.
struct cgroup_line {
    bool v1_memory, v2;
    const char *path;
};
struct cgroup_mount {
    bool v1_memory, v2;
    char *root, *point; // octal escapes undone
};
bool cgroup_parse_line(char *line, struct cgroup_line *out);
bool cgroup_parse_mount(char *line, struct cgroup_mount *out);

#endif
