// launcher_control - see launcher_control.h.
//
// The socket's name is found in /proc/PID/net/unix. Others may bind names like it, so the one who
// answers has to be the process that was meant. In a container the name is in another network
// namespace: a child of ours goes there, through its user namespace where need be, and connects.

#include "shim/launcher_control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "export/control.h"
#include "shim/base.h"
#include "shim/launcher.h"

enum {
    NAMES_MAX = 16, // of one process; more than one only where somebody imitates it
    ANSWER_MAX = 64 << 20,
    CONNECT_MS = 200,
};

struct names {
    unsigned count;
    char name[NAMES_MAX][100];
};

static bool proc_stat(pid_t pid, const char *file, struct stat *st)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d%s", (int)pid, file);
    return stat(path, st) == 0;
}

static FILE *proc_open(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    return fopen(path, "re");
}

static bool same_namespace(pid_t pid, const char *file)
{
    struct stat own, its;
    char path[64];
    snprintf(path, sizeof path, "/proc/self%s", file);
    // One that may not be looked at can only be asked from here.
    return stat(path, &own) != 0 || !proc_stat(pid, file, &its) || own.st_ino == its.st_ino;
}

// Its pid as it sees it itself: the last of the line NSpid.
static long innermost_pid(pid_t pid)
{
    char line[256];
    long found = pid;
    FILE *f = proc_open(pid, "status");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "NSpid:", 6) == 0) {
            for (char *at = line + 6, *end; found = strtol(at, &end, 10), end != at; at = end)
                if (!strpbrk(end, "0123456789"))
                    break;
            break;
        }
    if (f)
        fclose(f);
    return found;
}

static void find_names(pid_t pid, struct names *found)
{
    struct stat ns;
    char start[80], line[512];
    if (!proc_stat(pid, "/ns/pid", &ns) && stat("/proc/self/ns/pid", &ns) != 0)
        ns.st_ino = 0;
    snprintf(start, sizeof start, "@" CONTROL_PREFIX "%ju/%ld/", (uintmax_t)ns.st_ino,
             innermost_pid(pid));
    found->count = 0;
    FILE *f = proc_open(pid, "net/unix");
    if (!f)
        f = fopen("/proc/net/unix", "re");
    while (f && found->count < NAMES_MAX && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        // An abstract name may hold anything; ours has no blank and no "@" but the one that is
        // shown for its leading NUL.
        const char *name = strrchr(line, '@');
        if (name && strncmp(name, start, strlen(start)) == 0 && !strchr(name, ' ') &&
            strlen(name) <= sizeof found->name[0])
            strcpy(found->name[found->count++], name + 1);
    }
    if (f)
        fclose(f);
}

// -1 and errno.
static int connect_here(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_usec = CONNECT_MS * 1000};
    size_t length = strlen(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    // Where many are waiting already, a connect waits, too.
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    memcpy(a.sun_path + 1, name, length);
    if (connect(fd, (struct sockaddr *)&a,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static bool send_fd(int to, int fd)
{
    char byte = 0;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec io = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    return sendmsg(to, &m, MSG_NOSIGNAL) == 1;
}

static int receive_fd(int from)
{
    char byte;
    int fd = -1;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec io = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(from, &m, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&m) &&
        control.head.cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
    return fd;
}

static bool enter(pid_t pid, const char *file, int kind)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && setns(fd, kind) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

// The child that goes where the process is. There it is the root of that user namespace, or else a
// user whom nobody there knows.
static _Noreturn void connect_there(pid_t pid, const char *name, bool here, bool other_users,
                                    int to)
{
    int fd = -1;
    if (other_users && enter(pid, "/ns/user", CLONE_NEWUSER) &&
        (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0))
        _exit(1);
    // The network that we are in may be one to which that root has no right.
    if (here || enter(pid, "/ns/net", CLONE_NEWNET))
        fd = connect_here(name);
    _exit(fd >= 0 && send_fd(to, fd) ? 0 : 1);
}

static int connect_elsewhere(pid_t pid, const char *name, bool here, bool other_users)
{
    int ends[2], fd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0)
        connect_there(pid, name, here, other_users, ends[1]);
    close(ends[1]);
    if (child > 0) {
        fd = receive_fd(ends[0]);
        waitpid(child, NULL, 0);
    }
    close(ends[0]);
    errno = EPERM;
    return fd;
}

// Anybody may bind a name like ours.
static bool is_process(int fd, pid_t pid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == pid;
}

static enum control_state connect_to(pid_t pid, int *out)
{
    struct names found;
    struct stat st;
    enum control_state state = CONTROL_CLOSED;
    if (!proc_stat(pid, "", &st))
        return CONTROL_GONE;
    bool here = same_namespace(pid, "/ns/net"), other_users = !same_namespace(pid, "/ns/user");
    find_names(pid, &found);
    for (unsigned i = 0; i < found.count; i++) {
        int fd = here && !other_users ? connect_here(found.name[i])
                                      : connect_elsewhere(pid, found.name[i], here, other_users);
        if (fd >= 0 && is_process(fd, pid)) {
            *out = fd;
            return CONTROL_ASKED;
        }
        if (fd >= 0)
            close(fd);
        else
            state = !here ? CONTROL_ELSEWHERE : CONTROL_SILENT;
    }
    return !found.count && st.st_uid != geteuid() && geteuid() != 0 ? CONTROL_DENIED : state;
}

void launcher_control_begin(struct control_call *c, pid_t pid, const char *request)
{
    char line[CONTROL_REQUEST_MAX];
    int n = snprintf(line, sizeof line, "%s\n", request);
    *c = (struct control_call){.pid = pid, .fd = -1};
    c->state = connect_to(pid, &c->fd);
    if (c->state != CONTROL_ASKED)
        return;
    // One who is refused hears of it in the answer.
    if (n >= (int)sizeof line ||
        (send(c->fd, line, (size_t)n, MSG_NOSIGNAL) != n && errno != EPIPE))
        c->state = CONTROL_SILENT;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// All that comes until the other side hangs up; false when that takes too long.
static bool read_all(struct control_call *c, unsigned timeout_ms)
{
    uint64_t until = now_ms() + timeout_ms;
    size_t room = 0;
    for (;;) {
        if (c->length + 1 >= room) {
            room = room ? room * 2 : 16384;
            char *larger = room <= ANSWER_MAX ? realloc(c->text, room) : NULL;
            if (!larger)
                return false;
            c->text = larger;
        }
        uint64_t now = now_ms();
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        if (now > until || poll(&p, 1, (int)(until - now)) <= 0)
            return false;
        ssize_t n = recv(c->fd, c->text + c->length, room - c->length - 1, 0);
        if (n > 0)
            c->length += (size_t)n;
        c->text[c->length] = '\0';
        if (n <= 0)
            return true;
    }
}

// The text may come from a process that is not what it says: no control characters reach a
// terminal.
static void make_printable(char *line)
{
    for (; *line; line++)
        if (*line < ' ' || *line > '~')
            *line = '?';
}

// The same for text of some lines, in which names may be UTF-8. Both sets of control characters go.
static void make_harmless(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
            *at++ = '?';
        else if (*at == '\n' || (*at >= ' ' && *at != 0x7f))
            continue;
        *at = '?';
    }
}

// Splits the answer; sets state.
static void judge(struct control_call *c)
{
    static const char end[] = CONTROL_END "\n", error[] = "error ";
    size_t tail = sizeof end - 1, body = strcspn(c->text, "\n") + 1;
    if (strncmp(c->text, error, sizeof error - 1) == 0 && body <= c->length) {
        c->text[body - 1] = '\0';
        memmove(c->text, c->text + sizeof error - 1, body - sizeof error + 1);
        make_printable(c->text);
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

bool launcher_control_finish(struct control_call *c, unsigned timeout_ms)
{
    if (c->state == CONTROL_ASKED) {
        if (read_all(c, timeout_ms))
            judge(c);
        else
            c->state = CONTROL_SILENT;
    }
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    return c->state == CONTROL_ASKED;
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
    if (launcher_control_finish(&c, timeout_ms)) {
        make_harmless(c.text);
        *text = c.text;
        return 0;
    }
    launcher_fail(EXIT_OURS, "process %d %s%s", (int)pid, c.state == CONTROL_FAILED ? "says: " : "",
                  launcher_control_why(&c));
    free(c.text);
    return EXIT_OURS;
}
