#include "pressure/triggers/psi.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pressure/kernel/private_fd.h"
#include "pressure/kernel/text.h"
#include "shim/kernel.h"
#include "shim/number.h"

#define CONFIRM_US 50000
#define RETRY_MS 30000
#define GIVE_UP 3

const char *const psi_names[PSI_KINDS] = {
    [PSI_SYSTEMD] = "MEMORY_PRESSURE_WATCH",
    [PSI_TRIGGER] = "PSI",
    [PSI_EVENTS] = "memory.events",
};

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
    return number_read(&p, out);
}

uint64_t psi_read_total(const char *path)
{
    char text[256];
    uint64_t total = 0;
    if (text_read(path, text, sizeof text) > 0)
        psi_parse_total(text, &total);
    return total;
}

// high + max + oom: what says that this cgroup ran into its limit.
uint64_t psi_read_events(int fd)
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
    return private_fd_is(a->fd, a->dev, a->ino);
}

static void drop(struct psi_accel *a)
{
    if (a->open && ours(a))
        kernel_close(a->fd);
    a->open = false;
}

static void lose(struct psi_accel *a, uint64_t now)
{
    a->open = false;
    a->lost++;
    a->retry_ms = now + RETRY_MS;
}

bool psi_wants(const struct psi_source *s, uint64_t now)
{
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
    for (enum psi_kind kind = 0; kind < PSI_KINDS; kind++) {
        struct psi_accel *a = &s->accel[kind];
        if (!a->open && a->lost < GIVE_UP && now >= a->retry_ms) {
            a->error = -psi_arm_one(kind, a, o, place);
            if (a->error > 0)
                a->retry_ms = now + RETRY_MS;
        }
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
        if (!ours(a)) {
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
    // The number may be another file's by now.
    if ((revents & POLLNVAL) || !ours(a)) {
        lose(a, now);
        return false;
    }
    if (a->drain) {
        long n = kernel_read(a->fd, sink, sizeof sink);
        if (n > 0 || n == -EAGAIN)
            return n > 0;
    } else if (kind == PSI_EVENTS) {
        // Reading is also what arms it again; an error with nothing to read is a cgroup that died.
        uint64_t count = psi_read_events(a->fd);
        if (count || !(revents & POLLERR))
            return grew(a, count, 1);
    } else if (!(revents & (POLLERR | POLLHUP))) {
        return grew(a, psi_read_total(a->total_path), CONFIRM_US);
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
