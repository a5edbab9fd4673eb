#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "pressure/kernel/private_fd.h"
#include "pressure/triggers/psi.h"
#include "shim/kernel.h"

// The kernel overwrites the last byte with a NUL, so it has to be one.
static const char trigger[] = "some 150000 2000000";

// Takes over `fd`, moved up. 0 or -errno, and then it is closed.
static int adopt(struct psi_accel *a, int fd, short events)
{
    fd = private_fd_move(fd);
    if (fd < 0)
        return fd;
    int r = private_fd_identify(fd, &a->dev, &a->ino);
    if (r) {
        kernel_close(fd);
        return r;
    }
    a->fd = fd;
    a->events = events;
    a->open = true;
    return 0;
}

// What the environment names is written to, so it has to be the kernel's, as systemd has it.
static bool is_kernel_file(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 &&
           (fs.f_type == CGROUP2_SUPER_MAGIC || fs.f_type == CGROUP_SUPER_MAGIC ||
            fs.f_type == PROC_SUPER_MAGIC);
}

// A PSI file takes one trigger a descriptor. `named`: by the environment.
static int arm_psi(struct psi_accel *a, const char *path, const void *blob, size_t size, bool named)
{
    if (strlen(path) >= sizeof a->total_path)
        return -ENAMETOOLONG;
    int fd = kernel_open(path, O_RDWR | O_NONBLOCK);
    if (fd < 0)
        return fd;
    if (named && !is_kernel_file(fd)) {
        kernel_close(fd);
        return -EPERM;
    }
    if (size && write(fd, blob, size) < 0) {
        int e = -errno;
        kernel_close(fd);
        return e;
    }
    strcpy(a->total_path, path);
    a->count = psi_read_total(path);
    a->is_psi = true;
    return adopt(a, fd, POLLPRI);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof to.sun_path)
        return -ENAMETOOLONG;
    strcpy(to.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    int e = -errno;
    kernel_close(fd);
    return e;
}

static int arm_systemd(struct psi_accel *a, const char *path, const char *write_base64)
{
    unsigned char blob[256];
    struct stat st;
    int size = write_base64 ? psi_decode(write_base64, blob, sizeof blob) : 0;
    if (size < 0 || path[0] != '/')
        return -EINVAL;
    if (stat(path, &st) != 0)
        return -errno;
    if (S_ISREG(st.st_mode))
        return arm_psi(a, path, blob, (size_t)size, true);
    // A FIFO is opened for writing too, or it would be at its end once its writer goes.
    int fd = S_ISSOCK(st.st_mode)   ? connect_unix(path)
             : S_ISFIFO(st.st_mode) ? kernel_open(path, O_RDWR | O_NONBLOCK)
                                    : -EINVAL;
    if (fd < 0)
        return fd;
    a->is_psi = false;
    a->drain = true;
    if (S_ISSOCK(st.st_mode) && size && send(fd, blob, (size_t)size, MSG_NOSIGNAL) != size) {
        kernel_close(fd);
        return -EIO;
    }
    return adopt(a, fd, POLLIN);
}

static int arm_trigger(struct psi_accel *a, const char *root, struct psi_place *place)
{
    struct cgroup_dir *d = &place->unified;
    int r = -ENOENT;
    if (d->len) {
        char saved[64];
        r = arm_psi(a, cgroup_file_at(d, d->len, "memory.pressure", saved), trigger, sizeof trigger,
                    false);
        cgroup_file_done(d, d->len, "memory.pressure", saved);
    }
    // Where the cgroup's own is not ours to write, the machine's often is.
    char path[256];
    if (r == 0 || strlen(root) > 200)
        return r;
    strcpy(stpcpy(path, root), "/proc/pressure/memory");
    return arm_psi(a, path, trigger, sizeof trigger, false);
}

static int arm_events(struct psi_accel *a, struct psi_place *place)
{
    struct cgroup_dir *d = &place->memory;
    if (!place->v2 || !d->len)
        return -ENOENT;
    char saved[64];
    int fd = kernel_open(cgroup_file_at(d, d->len, "memory.events", saved), O_RDONLY);
    cgroup_file_done(d, d->len, "memory.events", saved);
    if (fd < 0)
        return fd;
    a->count = psi_read_events(fd);
    return adopt(a, fd, POLLPRI);
}

bool psi_is_named(const struct pressure_options *o)
{
    return o->watch_path && strcmp(o->watch_path, "/dev/null") != 0;
}

int psi_arm_one(enum psi_kind kind, struct psi_accel *a, const struct pressure_options *o,
                struct psi_place *place)
{
    switch (kind) {
    case PSI_SYSTEMD:
        return psi_is_named(o) ? arm_systemd(a, o->watch_path, o->watch_write) : -ENOENT;
    case PSI_TRIGGER:
        // The service manager has chosen what to be told of.
        return o->watch_path ? -ENOENT : arm_trigger(a, o->root, place);
    default:
        return arm_events(a, place);
    }
}
