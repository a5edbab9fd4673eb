#include "pressure/usage/proc.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pressure/kernel/text.h"
#include "shim/number.h"

// The start of a file below `root`: its length, or -errno. No stdio: it may allocate.
static int read_below(const char *root, const char *path, char *text, size_t size)
{
    char whole[256];
    size_t n = strlen(root), m = strlen(path);
    if (n + m >= sizeof whole)
        return -ENAMETOOLONG;
    memcpy(whole, root, n);
    memcpy(whole + n, path, m + 1);
    return text_read(whole, text, size);
}

int proc_read_rss(const char *root, struct proc_rss *out)
{
    char text[128];
    int n = read_below(root, "/proc/self/statm", text, sizeof text);
    if (n < 0)
        return n;
    // size resident shared text lib data dt, in pages
    uint64_t field[3];
    const char *p = text;
    for (int i = 0; i < 3; i++) {
        p += strspn(p, " ");
        if (!number_read(&p, &field[i]))
            return -EINVAL;
    }
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (field[1] > UINT64_MAX / page)
        return -EINVAL;
    out->rss_bytes = field[1] * page;
    out->anon_bytes = field[1] > field[2] ? (field[1] - field[2]) * page : 0;
    return 0;
}

static bool kib_line(const char *line, const char *key, uint64_t *out)
{
    uint64_t kib;
    if (!text_value(line, key, &kib) || kib > UINT64_MAX / 1024)
        return false;
    *out = kib * 1024;
    return true;
}

int proc_read_ram(const char *root, struct proc_ram *out)
{
    char text[512];
    // The two lines wanted are among the first three.
    int n = read_below(root, "/proc/meminfo", text, sizeof text);
    if (n < 0)
        return n;
    struct proc_ram ram = {0, UINT64_MAX};
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        kib_line(line, "MemTotal:", &ram.total_bytes);
        kib_line(line, "MemAvailable:", &ram.available_bytes);
    }
    if (!ram.total_bytes)
        return -EINVAL;
    if (ram.available_bytes > ram.total_bytes)
        ram.available_bytes = ram.total_bytes;
    *out = ram;
    return 0;
}

uint64_t proc_rlimit(void)
{
    uint64_t least = UINT64_MAX;
    static const int which[] = {RLIMIT_AS, RLIMIT_DATA};
    for (int i = 0; i < 2; i++) {
        struct rlimit r;
        if (getrlimit((unsigned)which[i], &r) == 0 && r.rlim_cur != RLIM_INFINITY &&
            r.rlim_cur < least)
            least = r.rlim_cur;
    }
    return least;
}
