// control - see control.h.

#include "shim/cli/process/control.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "export/control.h"
#include "shim/base.h"
#include "shim/cli/common/cli.h"
#include "shim/cli/common/out.h"
#include "shim/cli/process/reach.h"

enum { ANSWER_FIRST = 16384, ANSWER_MAX = 64 << 20 };

void launcher_control_begin(struct control_call *c, pid_t pid, const char *request)
{
    char line[CONTROL_REQUEST_MAX];
    int n = snprintf(line, sizeof line, "%s\n", request);
    *c = (struct control_call){.pid = pid, .fd = -1};
    c->state = launcher_reach(pid, &c->fd);
    if (c->state != CONTROL_ASKED)
        return;
    // A client that is refused reads so in the answer.
    if (n >= (int)sizeof line ||
        (send(c->fd, line, (size_t)n, MSG_NOSIGNAL) != n && errno != EPIPE))
        c->state = CONTROL_SILENT;
}

static bool make_room(struct control_call *c)
{
    if (c->length + 1 < c->room)
        return true;
    size_t room = c->room ? c->room * 2 : ANSWER_FIRST;
    char *larger = room <= ANSWER_MAX ? realloc(c->text, room) : NULL;
    if (!larger)
        return false;
    c->text = larger;
    c->room = room;
    return true;
}

// One piece. False when no more is to come: then all is there, or state says that it is too much.
static bool receive(struct control_call *c)
{
    if (!make_room(c)) {
        c->state = CONTROL_SILENT;
        return false;
    }
    ssize_t n = recv(c->fd, c->text + c->length, c->room - c->length - 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n > 0)
        c->length += (size_t)n;
    c->text[c->length] = '\0';
    return n > 0;
}

// Splits the answer; sets state.
static void judge(struct control_call *c)
{
    static const char end[] = CONTROL_END "\n", error[] = "error ";
    size_t tail = sizeof end - 1, body = strcspn(c->text, "\n") + 1;
    if (strncmp(c->text, error, sizeof error - 1) == 0 && body <= c->length) {
        c->text[body - 1] = '\0';
        memmove(c->text, c->text + sizeof error - 1, body - sizeof error + 1);
        c->length = strlen(c->text);
        c->state = strcmp(c->text, "permission denied") == 0 ? CONTROL_DENIED : CONTROL_FAILED;
    } else if (strncmp(c->text, "ok\n", 3) != 0 || strlen(c->text) != c->length ||
               c->length < body + tail || strcmp(c->text + c->length - tail, end) != 0) {
        c->state = CONTROL_SILENT;
    } else {
        c->length -= body + tail;
        memmove(c->text, c->text + body, c->length);
        c->text[c->length] = '\0';
    }
}

static void hang_up(struct control_call *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static bool any_open(const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i].fd >= 0)
            return true;
    return false;
}

// Processes that are ready are read from, a piece at a time, so that none keeps another waiting.
static void receive_all(struct control_call *calls, struct pollfd *fds, size_t count,
                        unsigned timeout_ms)
{
    uint64_t until = launcher_now_ms() + timeout_ms;
    while (any_open(fds, count)) {
        uint64_t now = launcher_now_ms();
        if (now > until || poll(fds, count, (int)(until - now)) <= 0)
            return;
        for (size_t i = 0; i < count; i++)
            if (fds[i].fd >= 0 && fds[i].revents && !receive(&calls[i]))
                fds[i].fd = -1;
    }
}

void launcher_control_finish(struct control_call *calls, size_t count, unsigned timeout_ms)
{
    struct pollfd *fds = calloc(count + 1, sizeof *fds);
    for (size_t i = 0; fds && i < count; i++)
        fds[i] = (struct pollfd){.fd = calls[i].state == CONTROL_ASKED ? calls[i].fd : -1,
                                 .events = POLLIN};
    if (fds)
        receive_all(calls, fds, count, timeout_ms);
    for (size_t i = 0; i < count; i++) {
        bool all = fds && fds[i].fd < 0 && calls[i].text;
        if (calls[i].state == CONTROL_ASKED && all)
            judge(&calls[i]);
        else if (calls[i].state == CONTROL_ASKED)
            calls[i].state = CONTROL_SILENT;
        hang_up(&calls[i]);
    }
    free(fds);
}

const char *launcher_control_why(const struct control_call *c)
{
    static const char *const why[] = {
        [CONTROL_ASKED] = "asked",
        [CONTROL_GONE] = "no such process",
        [CONTROL_DENIED] = "belongs to another user",
        [CONTROL_CLOSED] = "has no control channel (not tidepool's, small so far, or off)",
        [CONTROL_ELSEWHERE] = "is in another network namespace, and only root may go there",
        [CONTROL_SILENT] = "does not answer",
    };
    return c->state == CONTROL_FAILED ? c->text : why[c->state];
}

int launcher_control_ask(pid_t pid, const char *request, unsigned timeout_ms, char **text)
{
    struct control_call c;
    launcher_control_begin(&c, pid, request);
    launcher_control_finish(&c, 1, timeout_ms);
    if (c.state == CONTROL_ASKED) {
        *text = c.text;
        return 0;
    }
    char why[256];
    if (c.state == CONTROL_GONE)
        return launcher_fail(EXIT_OURS, "%d: %s", (int)pid, launcher_control_why(&c));
    launcher_fail(EXIT_OURS, "process %d %s%s", (int)pid, c.state == CONTROL_FAILED ? "says: " : "",
                  out_plain_text(why, sizeof why, launcher_control_why(&c)));
    free(c.text);
    return EXIT_OURS;
}
