#include "pressure/source_psi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pressure/high_fd.h"
#include "pressure/text.h"
#include "shim/base.h"

// The kernel overwrites the last byte with a NUL, so it has to be one.
static const char trigger[] = "some 150000 2000000";

#define CONFIRM_US 50000
#define RETRY_MS 30000
#define GIVE_UP 3

int psi_decode(const char *text, unsigned char *out, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0, seen = 0;
    size_t n = 0;
    for (; *text && *text != '='; text++, seen++) {
        const char *d = strchr(digits, *text);
        if (!d)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)(d - digits);
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (n == size)
            return -EINVAL;
        out[n++] = (unsigned char)(bits >> have);
    }
    size_t pad = strspn(text, "=");
    if (text[pad] || seen % 4 == 1 || (pad && (seen + pad) % 4))
        return -EINVAL;
    return (int)n;
}

bool psi_parse_total(const char *text, uint64_t *out)
{
    if (strncmp(text, "some ", 5) != 0)
        return false;
    const char *end = strchr(text, '\n');
    const char *p = strstr(text, " total=");
    if (!p || (end && p > end))
        return false;
    p += strlen(" total=");
    return text_u64(&p, out);
}

static uint64_t read_total(const char *path)
{
    char text[256];
    uint64_t total = 0;
    if (text_read(path, text, sizeof text) > 0)
        psi_parse_total(text, &total);
    return total;
}

// high + max + oom: what says that this cgroup ran into its limit.
static uint64_t read_events(int fd)
{
    char text[512];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    uint64_t sum = 0, x;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (text_value(line, "high", &x) || text_value(line, "max", &x) ||
            text_value(line, "oom", &x))
            sum += x;
    }
    return sum;
}

static bool ours(const struct psi_accel *a)
{
    return high_fd_is(a->fd, a->dev, a->ino, a->eventfd_id);
}

static void drop(struct psi_accel *a)
{
    if (a->open && ours(a))
        text_fd_close(a->fd);
    a->open = false;
}

static void lose(struct psi_accel *a, uint64_t now)
{
    a->open = false;
    a->lost++;
    a->retry_ms = now + RETRY_MS;
}

// Takes over `fd`, moved up. 0 or -errno, and then it is closed.
static int adopt(struct psi_accel *a, int fd, short events)
{
    fd = high_fd_move(fd);
    if (fd < 0)
        return fd;
    int r = high_fd_identify(fd, &a->dev, &a->ino, &a->eventfd_id);
    if (r) {
        text_fd_close(fd);
        return r;
    }
    a->fd = fd;
    a->events = events;
    a->open = true;
    return 0;
}

// A PSI file takes one trigger a descriptor.
static int arm_psi(struct psi_accel *a, const char *path, const void *blob, size_t size)
{
    if (strlen(path) >= sizeof a->total_path)
        return -ENAMETOOLONG;
    int fd = text_fd_open(path, O_RDWR | O_NONBLOCK);
    if (fd < 0)
        return fd;
    if (size && write(fd, blob, size) < 0) {
        int e = -errno;
        text_fd_close(fd);
        return e;
    }
    strcpy(a->total_path, path);
    a->count = read_total(path);
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
    text_fd_close(fd);
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
        return arm_psi(a, path, blob, (size_t)size);
    // A FIFO is opened for writing too, or it would be at its end once its writer goes.
    int fd = S_ISSOCK(st.st_mode)   ? connect_unix(path)
             : S_ISFIFO(st.st_mode) ? text_fd_open(path, O_RDWR | O_NONBLOCK)
                                    : -EINVAL;
    if (fd < 0)
        return fd;
    a->is_psi = false;
    a->drain = true;
    if (S_ISSOCK(st.st_mode) && size && send(fd, blob, (size_t)size, MSG_NOSIGNAL) != size) {
        text_fd_close(fd);
        return -EIO;
    }
    return adopt(a, fd, POLLIN);
}

static int arm_trigger(struct psi_accel *a, const char *root, struct psi_place *place)
{
    struct cgroup_dir *d = place->found ? &place->found->unified : NULL;
    int r = -ENOENT;
    if (d && d->len) {
        char saved[64];
        r = arm_psi(a, cgroup_file_at(d, d->len, "memory.pressure", saved), trigger,
                    sizeof trigger);
        cgroup_file_done(d, d->len, "memory.pressure", saved);
    }
    // Where the cgroup's own is not ours to write, the machine's often is.
    char path[256];
    if (r == 0 || strlen(root) > 200)
        return r;
    strcpy(stpcpy(path, root), "/proc/pressure/memory");
    return arm_psi(a, path, trigger, sizeof trigger);
}

static int arm_events(struct psi_accel *a, struct psi_place *place)
{
    if (!place->found || !place->found->v2 || !place->found->memory.len)
        return -ENOENT;
    struct cgroup_dir *d = &place->found->memory;
    char saved[64];
    int fd = text_fd_open(cgroup_file_at(d, d->len, "memory.events", saved), O_RDONLY);
    cgroup_file_done(d, d->len, "memory.events", saved);
    if (fd < 0)
        return fd;
    a->count = read_events(fd);
    return adopt(a, fd, POLLPRI);
}

static int open_at(struct cgroup_dir *d, size_t len, const char *name, int flags)
{
    char saved[64];
    int fd = text_fd_open(cgroup_file_at(d, len, name, saved), flags);
    cgroup_file_done(d, len, name, saved);
    return fd;
}

static size_t put_number(char *out, uint64_t x)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + x % 10);
    while (x /= 10);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

// "EVENTFD USAGE_FD BYTES" to event_control, a line for each watermark.
static int register_thresholds(int efd, struct psi_place *place)
{
    struct cgroup_dir *d = &place->found->memory;
    int usage = open_at(d, place->binding_len, "memory.usage_in_bytes", O_RDONLY);
    int control = open_at(d, place->binding_len, "cgroup.event_control", O_WRONLY);
    int r = usage < 0 ? usage : control < 0 ? control : 0;
    for (size_t i = 0; r == 0 && i < array_len(place->watermark); i++) {
        char line[64];
        size_t n = put_number(line, (uint64_t)efd);
        line[n++] = ' ';
        n += put_number(line + n, (uint64_t)usage);
        line[n++] = ' ';
        n += put_number(line + n, place->watermark[i]);
        if (write(control, line, n) < 0)
            r = -errno;
    }
    // The kernel holds on to the eventfd; the other two have done their part.
    if (usage >= 0)
        text_fd_close(usage);
    if (control >= 0)
        text_fd_close(control);
    return r;
}

static int arm_thresholds(struct psi_accel *a, struct psi_place *place)
{
    if (!place->found || place->found->v2 || !place->binding_len)
        return -ENOENT;
    int efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (efd < 0)
        return -errno;
    int r = register_thresholds(efd, place);
    if (r) {
        text_fd_close(efd);
        return r;
    }
    a->drain = true;
    return adopt(a, efd, POLLIN);
}

static int arm_one(enum psi_kind kind, struct psi_accel *a, const struct pressure_options *o,
                   struct psi_place *place)
{
    // /dev/null says: not by pressure stalls. Limits are still limits.
    bool off = o->watch_path && strcmp(o->watch_path, "/dev/null") == 0;
    switch (kind) {
    case PSI_SYSTEMD:
        return o->watch_path && !off ? arm_systemd(a, o->watch_path, o->watch_write) : -ENOENT;
    case PSI_TRIGGER:
        // The service manager has chosen what to be told of.
        return o->watch_path ? -ENOENT : arm_trigger(a, o->root, place);
    case PSI_EVENTS:
        return arm_events(a, place);
    default:
        return arm_thresholds(a, place);
    }
}

bool psi_wants(const struct psi_source *s, uint64_t limit, uint64_t now)
{
    if (limit != s->threshold_limit)
        return true;
    for (enum psi_kind kind = 0; kind < PSI_KINDS; kind++) {
        const struct psi_accel *a = &s->accel[kind];
        if (!a->open && a->lost < GIVE_UP && now >= a->retry_ms)
            return true;
    }
    return false;
}

unsigned psi_arm(struct psi_source *s, const struct pressure_options *o, struct psi_place *place,
                 uint64_t now)
{
    unsigned n = 0;
    if (place->limit_bytes != s->threshold_limit) {
        drop(&s->accel[PSI_THRESHOLD]);
        s->accel[PSI_THRESHOLD].retry_ms = 0;
        s->threshold_limit = place->limit_bytes;
    }
    for (enum psi_kind kind = 0; kind < PSI_KINDS; kind++) {
        struct psi_accel *a = &s->accel[kind];
        if (!a->open && a->lost < GIVE_UP && now >= a->retry_ms && arm_one(kind, a, o, place) < 0)
            a->retry_ms = now + RETRY_MS;
        n += a->open;
    }
    return n;
}

unsigned psi_fill(struct psi_source *s, struct pollfd fds[PSI_KINDS],
                  enum psi_kind which[PSI_KINDS], uint64_t now)
{
    unsigned n = 0;
    for (enum psi_kind kind = 0; kind < PSI_KINDS; kind++) {
        struct psi_accel *a = &s->accel[kind];
        if (!a->open)
            continue;
        // An eventfd may be another one of the same inode; before it is read that is looked at.
        if (!high_fd_is(a->fd, a->dev, a->ino, 0)) {
            lose(a, now);
            continue;
        }
        which[n] = kind;
        fds[n++] = (struct pollfd){.fd = a->fd, .events = a->events};
    }
    return n;
}

static bool grew(struct psi_accel *a, uint64_t count, uint64_t by)
{
    bool more = count >= a->count + by;
    a->count = count;
    return more;
}

bool psi_event(struct psi_source *s, enum psi_kind kind, short revents, uint64_t now)
{
    struct psi_accel *a = &s->accel[kind];
    char sink[64];
    // The number may have become somebody else's while we slept.
    if ((revents & POLLNVAL) || !ours(a)) {
        lose(a, now);
        return false;
    }
    if (a->drain) {
        long n = text_fd_read(a->fd, sink, sizeof sink);
        if (n > 0 || n == -EAGAIN)
            return n > 0;
    } else if (kind == PSI_EVENTS) {
        // Reading is also what arms it again; an error with nothing to read is a cgroup that died.
        uint64_t count = read_events(a->fd);
        if (count || !(revents & POLLERR))
            return grew(a, count, 1);
    } else if (!(revents & (POLLERR | POLLHUP))) {
        return grew(a, read_total(a->total_path), CONFIRM_US);
    }
    drop(a);
    lose(a, now);
    return true;
}

void psi_close(struct psi_source *s)
{
    for (enum psi_kind kind = 0; kind < PSI_KINDS; kind++)
        drop(&s->accel[kind]);
    memset(s, 0, sizeof *s);
}
