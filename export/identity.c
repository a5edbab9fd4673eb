#include "export/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pressure/kernel/text.h"
#include "shim/kernel.h"
#include "shim/number.h"

// The part of /proc/PID/stat behind the name, which may hold anything, brackets and blanks too: it
// begins with the state, field 3.
static const char *state_in(const char *stat)
{
    const char *p = strrchr(stat, ')');

    return p && p[1] == ' ' ? p + 2 : NULL;
}

static uint64_t start_in(const char *stat)
{
    const char *p = state_in(stat);
    uint64_t start = 0;

    for (int field = 3; p && field < 22; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    return p && number_read(&p, &start) ? start : 0;
}

bool identity_is_gone(int pid, uint64_t start)
{
    char path[40], text[512];
    struct out o = out_begin(path, sizeof path - 1, "");
    const char *state;

    if (kill(pid, 0) != 0 && errno == ESRCH)
        return true;
    out_text(&o, "/proc/");
    out_number(&o, (uint64_t)pid);
    out_text(&o, "/stat");
    *o.at = '\0';
    // A /proc may hide other users' processes.
    if (text_read(path, text, sizeof text) <= 0 || !(state = state_in(text)) || !start_in(text))
        return false;
    // A zombie is as gone as a process that its parent has waited for.
    return *state == 'Z' || *state == 'X' || (start && start_in(text) != start);
}

// The number in a link of /proc/self, behind a prefix; 0 where there is none.
static uint64_t number_in_link(const char *path, const char *prefix)
{
    char link[40];
    long n = kernel_read_link(path, link, sizeof link);
    const char *p = link + strlen(prefix);
    uint64_t number = 0;

    if (n <= (long)strlen(prefix))
        return 0;
    return number_read(&p, &number) ? number : 0;
}

void identity_read(struct identity *out)
{
    char text[512];

    *out = (struct identity){.pid = (int)syscall(SYS_getpid)};
    if (text_read("/proc/self/stat", text, sizeof text) > 0)
        out->start = start_in(text);
    out->pidns = number_in_link("/proc/self/ns/pid", "pid:[");
    // A new namespace may still have its parent's /proc, where other pids are meant.
    out->sees_peers = number_in_link("/proc/self", "") == (uint64_t)out->pid;
    if (text_read("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot) < 0)
        out->boot[0] = '\0';
    out->boot[strcspn(out->boot, "\n")] = '\0';
}

void identity_comm(char out[16])
{
    char text[32];

    // Not the thread's own: this is asked by the watchdog, which is called tidepool.
    if (text_read("/proc/self/comm", text, sizeof text) <= 0 &&
        syscall(SYS_prctl, PR_GET_NAME, text, 0, 0, 0) != 0)
        strcpy(text, "?");
    text[strcspn(text, "\n")] = '\0';
    text[15] = '\0';
    strcpy(out, text[0] ? text : "?");
}

void identity_labels(struct out *o, const struct identity *i, const char *comm, const char *labels)
{
    out_text(o, "pid=\"");
    out_number(o, (uint64_t)i->pid);
    out_text(o, "\",comm=\"");
    out_escaped(o, comm, strlen(comm));
    out_char(o, '"');
    if (identity_in_container(i)) {
        out_text(o, ",pidns=\"");
        out_number(o, i->pidns);
        out_char(o, '"');
    }
    if (labels[0]) {
        out_char(o, ',');
        out_text(o, labels);
    }
}
