#include "mfile/parse/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// The longest path and what stands before it.
#define BUFFER 8192

// PROCMAP_QUERY of linux/fs.h, which came with 6.11.
struct query {
    uint64_t size, flags, address;
    uint64_t start, end, vma_flags, page_size, offset, inode;
    uint32_t major, minor, name_size, build_id_size;
    uint64_t name, build_id;
};
#define QUERY _IOWR('f', 17, struct query)
enum { QUERY_READ = 1, QUERY_WRITE = 2, QUERY_EXEC = 4, QUERY_SHARED = 8, QUERY_FILE = 0x20 };

static _Atomic bool cannot_query;

static bool hex(char **at, char stop, uint64_t *out)
{
    uint64_t n = 0;
    char *p = *at;

    for (;; p++) {
        unsigned digit;
        if (*p >= '0' && *p <= '9')
            digit = (unsigned)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            digit = (unsigned)(*p - 'a' + 10);
        else
            break;
        if (n >> 60)
            return false;
        n = n << 4 | digit;
    }
    if (p == *at || *p != stop)
        return false;
    *at = p + 1;
    *out = n;
    return true;
}

static bool decimal(char **at, uint64_t *out)
{
    uint64_t n = 0;
    char *p = *at;

    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return false;
    if (p == *at)
        return false;
    *at = p;
    *out = n;
    return true;
}

// The kernel's mark of a file that has no name any more; no part of its path.
static size_t cut_deleted(char *path, size_t length)
{
    static const char mark[] = " (deleted)";
    size_t n = sizeof mark - 1;

    if (length > n && memcmp(path + length - n, mark, n) == 0)
        path[length -= n] = '\0';
    return length;
}

bool maps_parse(char *text, struct maps_line *out)
{
    uint64_t major, minor;
    char *p = text;

    if (!hex(&p, '-', &out->start) || !hex(&p, ' ', &out->end) || out->start >= out->end)
        return false;
    if (strnlen(p, 5) < 5 || p[4] != ' ')
        return false;
    out->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
                (p[2] == 'x' ? PROT_EXEC : 0);
    out->shared = p[3] == 's';
    p += 5;
    if (!hex(&p, ' ', &out->offset) || !hex(&p, ':', &major) || !hex(&p, ' ', &minor) ||
        !decimal(&p, &out->inode))
        return false;
    out->dev = (uint32_t)(major << 20 | minor);
    p += strspn(p, " ");
    cut_deleted(p, strlen(p));
    out->path = p;
    return true;
}

bool maps_is_file(const struct maps_line *line)
{
    return line->inode && strncmp(line->path, "/dev/zero", 9) != 0 &&
           strncmp(line->path, "/SYSV", 5) != 0;
}

// Hands out the whole lines of buf; what is left of an unfinished one moves to its start. False:
// the caller has seen enough.
static bool take_lines(char *buf, size_t *length, bool (*each)(void *, const struct maps_line *),
                       void *arg)
{
    char *at = buf, *end = buf + *length, *newline;

    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        struct maps_line line;
        *newline = '\0';
        if (maps_parse(at, &line) && !each(arg, &line))
            return false;
        at = newline + 1;
    }
    *length = (size_t)(end - at);
    memmove(buf, at, *length);
    return true;
}

// From where `fd` stands.
static int read_lines(int fd, bool (*each)(void *, const struct maps_line *), void *arg)
{
    char buf[BUFFER];
    size_t length = 0;

    for (;;) {
        // No line is this long; if one is, it is not for us.
        if (length == sizeof buf)
            length = 0;
        long n = syscall(SYS_read, fd, buf + length, sizeof buf - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        length += (size_t)n;
        if (!take_lines(buf, &length, each, arg))
            return 0;
    }
}

int maps_open(void)
{
    int saved = errno;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fd = -errno;
    errno = saved;
    return fd;
}

int maps_read(bool (*each)(void *, const struct maps_line *), void *arg)
{
    int saved = errno, fd = maps_open(), error = fd;

    if (fd < 0)
        return error;
    error = read_lines(fd, each, arg);
    syscall(SYS_close, fd);
    errno = saved;
    return error;
}

bool maps_is_quick(void)
{
    return !atomic_load_explicit(&cannot_query, memory_order_relaxed);
}

static int query(int fd, uint64_t address, struct maps_line *out, char *path, size_t size)
{
    struct query q = {
        .size = sizeof q,
        .flags = QUERY_FILE,
        .address = address,
        .name_size = (uint32_t)size,
        .name = (uint64_t)(uintptr_t)path,
    };

    *path = '\0';
    if (syscall(SYS_ioctl, fd, QUERY, &q) != 0)
        return -errno;
    if (q.name_size)
        cut_deleted(path, q.name_size - 1);
    *out = (struct maps_line){
        .start = q.start,
        .end = q.end,
        .offset = q.offset,
        .inode = q.inode,
        .dev = q.major << 20 | q.minor,
        .prot = (q.vma_flags & QUERY_READ ? PROT_READ : 0) |
                (q.vma_flags & QUERY_WRITE ? PROT_WRITE : 0) |
                (q.vma_flags & QUERY_EXEC ? PROT_EXEC : 0),
        .shared = q.vma_flags & QUERY_SHARED,
        .path = path,
    };
    return 0;
}

struct search {
    uint64_t address;
    struct maps_line *out;
    char *path;
    size_t size;
    int error;
};

static bool search_line(void *arg, const struct maps_line *line)
{
    struct search *s = arg;
    size_t bytes = strlen(line->path) + 1;

    if (line->end <= s->address)
        return true;
    if (line->start > s->address || !line->inode)
        return false;
    s->error = bytes > s->size ? -ENAMETOOLONG : 0;
    if (!s->error) {
        *s->out = *line;
        s->out->path = memcpy(s->path, line->path, bytes);
    }
    return false;
}

int maps_at(int fd, uint64_t address, struct maps_line *out, char *path, size_t size)
{
    struct search s = {address, out, path, size, -ENOENT};
    int saved = errno, error = 0;

    if (maps_is_quick()) {
        error = query(fd, address, out, path, size);
        if (error && error != -ENOENT && error != -ENAMETOOLONG)
            atomic_store_explicit(&cannot_query, true, memory_order_relaxed);
    }
    if (!maps_is_quick()) {
        syscall(SYS_lseek, fd, 0L, SEEK_SET);
        error = read_lines(fd, search_line, &s);
        if (!error)
            error = s.error;
    }
    errno = saved;
    return error;
}

int maps_path_of_fd(int fd, char *path, size_t size)
{
    char link[32] = "/proc/self/fd/", digits[12];
    size_t n = sizeof "/proc/self/fd/" - 1, d = 0;
    int saved = errno;

    for (unsigned rest = (unsigned)fd; rest || !d; rest /= 10)
        digits[d++] = (char)('0' + rest % 10);
    while (d)
        link[n++] = digits[--d];
    link[n] = '\0';
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (length < 0) {
        length = -errno;
        errno = saved;
        return (int)length;
    }
    path[length] = '\0';
    return (int)cut_deleted(path, (size_t)length);
}
