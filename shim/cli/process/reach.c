// reach - see reach.h.
//
// The socket's name is found in /proc/PID/net/unix. Others may bind names like it, so the process
// that answers has to be the one that was meant. In a container the name is in another network
// namespace: a child of ours goes there, through its user namespace where need be, and connects.

#include "shim/cli/process/reach.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "export/control.h"

enum {
    NAME_BYTES = 100,
    LISTENING = 0x10000, // the kernel's __SO_ACCEPTCON
    NAMES_MAX = 16,      // of one process; more than one only where another process imitates it
    CONNECT_MS = 50,
};

struct names {
    unsigned count;
    char name[NAMES_MAX][NAME_BYTES];
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
    // A process that may not be inspected can only be asked from here.
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

// Inodes of sockets.
struct sockets {
    size_t count, room;
    unsigned long *inode;
};

// Those of a folder of descriptors; none where we may not read it.
static void add_sockets(struct sockets *s, const char *path)
{
    char to[64];
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof to - 1);
        to[n > 0 ? n : 0] = '\0';
        if (s->count == s->room) {
            size_t room = s->room ? s->room * 2 : 64;
            unsigned long *larger = realloc(s->inode, room * sizeof *larger);
            if (!larger)
                break;
            s->inode = larger;
            s->room = room;
        }
        if (sscanf(to, "socket:[%lu]", &s->inode[s->count]) == 1)
            s->count++;
    }
    if (d)
        closedir(d);
}

static bool is_watchdog(const char *task)
{
    char path[400], comm[32] = "";
    snprintf(path, sizeof path, "%s/comm", task);
    FILE *f = fopen(path, "re");
    bool found = f && fgets(comm, sizeof comm, f) && strcmp(comm, "tidepool\n") == 0;
    if (f)
        fclose(f);
    return found;
}

// All that a process has, and its watchdog's thread, which has descriptors of its own.
static struct sockets sockets_of(pid_t pid)
{
    struct sockets s = {0};
    char tasks[64], task[350], path[360];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    add_sockets(&s, path);
    snprintf(tasks, sizeof tasks, "/proc/%d/task", (int)pid);
    DIR *d = opendir(tasks);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(task, sizeof task, "%s/%s", tasks, e->d_name);
        snprintf(path, sizeof path, "%s/fd", task);
        if (is_watchdog(task))
            add_sockets(&s, path);
    }
    if (d)
        closedir(d);
    return s;
}

static bool is_among(unsigned long inode, const struct sockets *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->inode[i] == inode)
            return true;
    return false;
}

// A line of /proc/net/unix: a listening socket whose abstract name begins like this?
static const char *listening(char *line, const char *start, unsigned long *inode)
{
    unsigned flags, type, state;
    line[strcspn(line, "\n")] = '\0';
    // A name may hold anything; ours has no blank, and no "@" but the one that stands for its
    // leading NUL.
    const char *name = strrchr(line, '@');
    if (!name || strncmp(name, start, strlen(start)) != 0 || strchr(name, ' ') ||
        strlen(name) > NAME_BYTES ||
        sscanf(line, "%*s %*s %*s %x %x %x %lu", &flags, &type, &state, inode) != 4)
        return NULL;
    return flags & LISTENING ? name + 1 : NULL;
}

// Those of one of these sockets, where some are given.
static void scan(pid_t pid, const char *start, const struct sockets *own, struct names *found)
{
    char line[512];
    unsigned long inode;
    FILE *f = proc_open(pid, "net/unix");
    if (!f)
        f = fopen("/proc/net/unix", "re");
    found->count = 0;
    while (f && found->count < NAMES_MAX && fgets(line, sizeof line, f)) {
        const char *name = listening(line, start, &inode);
        if (name && (!own || is_among(inode, own)))
            strcpy(found->name[found->count++], name);
    }
    if (f)
        fclose(f);
}

static void find_names(pid_t pid, struct names *found)
{
    struct stat ns;
    char start[80];
    if (!proc_stat(pid, "/ns/pid", &ns) && stat("/proc/self/ns/pid", &ns) != 0)
        ns.st_ino = 0;
    snprintf(start, sizeof start, "@" CONTROL_PREFIX "%ju/%ld/", (uintmax_t)ns.st_ino,
             innermost_pid(pid));
    scan(pid, start, NULL, found);
    if (found->count < 2)
        return;
    // Other processes may imitate it, perhaps a hundred times.
    struct sockets own = sockets_of(pid);
    if (own.count)
        scan(pid, start, &own, found);
    free(own.inode);
}

// -1 where that fails.
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
    close(fd);
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
// user that is not mapped there.
static _Noreturn void connect_there(pid_t pid, const char *name, bool here, bool other_users,
                                    int to)
{
    int fd = -1;
    // No process there may inspect ours, which may have come as the host's root.
    prctl(PR_SET_DUMPABLE, 0);
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
    return fd;
}

// Any process may bind a name like ours.
static bool is_process(int fd, pid_t pid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == pid;
}

enum control_state launcher_reach(pid_t pid, int *out)
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
