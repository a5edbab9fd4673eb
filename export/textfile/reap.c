#include "export/textfile/reap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "export/textfile/folder.h"
#include "export/textfile/place.h"

// A machine may be busy enough for a process of many writes a second to miss some.
#define STALE_INTERVALS 10
#define STALE_MIN_MS 30000

struct reaper {
    int dir;
    const struct identity *self;
    uint64_t interval_ms, now_ms;
};

static uint64_t age_ms(const struct reaper *r, const struct stat *st)
{
    uint64_t then = (uint64_t)st->st_mtim.tv_sec * 1000 + (uint64_t)st->st_mtim.tv_nsec / 1000000;

    return r->now_ms > then ? r->now_ms - then : 0;
}

static bool is_neighbour(const struct reaper *r, const struct place_name *name)
{
    uint64_t own = identity_in_container(r->self) ? r->self->pidns : 0;

    return r->self->sees_peers && name->pidns == own;
}

// Cheap, for most files are fresh and of processes that live: is this one worth opening?
static bool is_suspect(const struct reaper *r, const struct place_name *name, const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return false;
    return age_ms(r, st) >= r->interval_ms ||
           (is_neighbour(r, name) && kill(name->pid, 0) != 0 && errno == ESRCH);
}

static bool is_stale(const struct reaper *r, const struct place_line *line, const struct stat *st)
{
    uint64_t age = age_ms(r, st);

    return age >= STALE_MIN_MS && age / STALE_INTERVALS >= line->interval_ms;
}

static bool is_orphan(const struct reaper *r, const struct place_name *name,
                      const struct place_line *line, const struct stat *st)
{
    if (line->keep || line->who.pid != name->pid)
        return false;
    if (is_stale(r, line, st))
        return true;
    return is_neighbour(r, name) && line->who.pidns == r->self->pidns &&
           strcmp(line->who.boot, r->self->boot) == 0 &&
           identity_is_gone(line->who.pid, line->who.start);
}

static void look_at(void *arg, const char *entry)
{
    const struct reaper *r = arg;
    char start[PLACE_LINE_MAX];
    struct place_name name;
    struct place_line line;
    struct stat st, now;
    long length;

    if (!place_parse_name(entry, &name) || folder_stat(r->dir, entry, &st) != 0 ||
        !is_suspect(r, &name, &st))
        return;
    length = folder_read(r->dir, entry, start, sizeof start, &st);
    if (length < 0)
        return;
    // Of a file that was never written there is no more to know than its name.
    bool orphan =
        length == 0 && name.temporary
            ? is_neighbour(r, &name) && identity_is_gone(name.pid, 0)
            : place_parse_line(start, (size_t)length, &line) && is_orphan(r, &name, &line, &st);
    // A new process may have taken the pid, and the name, since it was read.
    if (orphan && folder_stat(r->dir, entry, &now) == 0 && now.st_ino == st.st_ino)
        folder_remove(r->dir, entry);
}

void reap(int dir, const struct identity *self, uint64_t interval_ms)
{
    struct reaper r = {.dir = dir, .self = self, .interval_ms = interval_ms};
    char mark[48];
    struct out o = out_begin(mark, sizeof mark - 1, "");
    struct timespec now;
    struct stat st;

    clock_gettime(CLOCK_REALTIME, &now);
    r.now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    out_text(&o, ".tidepool-");
    out_number(&o, (uint64_t)geteuid());
    out_text(&o, ".reaped");
    *o.at = '\0';
    // A clock that was set back counts as time gone by.
    if (folder_stat(dir, mark, &st) == 0 && age_ms(&r, &st) < interval_ms / 2 &&
        (uint64_t)st.st_mtim.tv_sec <= (uint64_t)now.tv_sec)
        return;
    // Where it cannot be touched every process lists the folder.
    folder_touch(dir, mark);
    folder_list(dir, look_at, &r);
}
