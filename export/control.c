#include "export/control.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "export/out.h"
#include "pressure/evaluate.h"
#include "pressure/kernel/private_fd.h"
#include "pressure/kernel/text.h"
#include "shim/base.h"
#include "shim/kernel.h"

#define CLIENTS 4
#define BACKLOG 16
#define ACCEPTS 8 // in one go
// A client's whole request comes with its first packet, or soon. When all slots are taken, a client
// that has been silent for this time makes room.
#define REQUEST_MS 1000
#define SEAT_MS 100
// An answer fits the socket's buffer, which is 208 KiB everywhere; a longer one waits for its
// reader in steps, and no longer than this altogether.
#define SEND_STEP_MS 5
#define SEND_STEPS 10
#define RETRY_MS 1000
#define RETRY_MAX_MS 64000
// The uid that a user namespace shows for users that it does not map.
#define OVERFLOW_UID 65534

static_assert(CLIENTS + 1 <= PRESSURE_WAIT_FDS, "the thread waits on all of them");

struct socket {
    bool open;
    int fd;
    dev_t dev;
    ino_t ino;
};

static struct client {
    struct socket at;
    uint64_t since_ms;
    unsigned length;
    char line[CONTROL_REQUEST_MAX];
} client[CLIENTS];

static struct socket listener;
static uint64_t retry_at_ms, retry_ms = RETRY_MS;
static bool failed_before;

// Of the answer under way.
static struct {
    bool broken;
    unsigned steps;
} answer;

static struct command {
    const char *name;
    control_fn fn;
} command[CONTROL_COMMANDS_MAX];

// A number that the program has taken over is let be.
static bool ours(const struct socket *s)
{
    return s->open && private_fd_is(s->fd, s->dev, s->ino);
}

static void drop(struct socket *s)
{
    if (ours(s))
        kernel_close(s->fd);
    s->open = false;
}

// Moves it up and remembers it; `fd` is closed where that fails.
static int adopt(struct socket *s, int fd)
{
    fd = private_fd_move(fd);
    if (fd < 0)
        return fd;
    int err = private_fd_identify(fd, &s->dev, &s->ino);
    if (err) {
        kernel_close(fd);
        return err;
    }
    s->fd = fd;
    s->open = true;
    return 0;
}

int control_register(const char *name, control_fn fn)
{
    for (unsigned i = 0; i < array_len(command); i++)
        if (!command[i].name || strcmp(command[i].name, name) == 0) {
            command[i] = (struct command){name, fn};
            return 0;
        }
    return -ENOSPC;
}

bool control_send(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size && !answer.broken) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            at += n;
            size -= (size_t)n;
            continue;
        }
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (errno != EINTR && (errno != EAGAIN || answer.steps++ >= SEND_STEPS))
            answer.broken = true;
        else
            poll(&p, 1, SEND_STEP_MS);
    }
    return !answer.broken;
}

static bool send_text(int fd, const char *text)
{
    return control_send(fd, text, strlen(text));
}

bool control_ok(int fd)
{
    return send_text(fd, "ok\n");
}

void control_error(int fd, const char *why)
{
    if (send_text(fd, "error ") && send_text(fd, why))
        send_text(fd, "\n");
}

static void version(int fd, const char *argument)
{
    (void)argument;
    control_ok(fd);
    send_text(fd, "tidepool " TIDEPOOL_VERSION "\n");
}

// Does this user namespace know every user? Then the overflow uid may be a real user's.
static bool knows_every_user(void)
{
    char map[128];
    return text_read("/proc/self/uid_map", map, sizeof map) > 0 && strstr(map, " 4294967295\n");
}

static bool may_ask(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    // Asked each time: servers start as root and change their uid.
    uid_t own = geteuid();
    return peer.uid == 0 || (peer.uid == own && (own != OVERFLOW_UID || knows_every_user()));
}

static void run(int fd, char *line)
{
    char *argument = strchr(line, ' ');
    if (argument)
        *argument++ = '\0';
    control_fn fn = strcmp(line, "version") == 0 ? version : NULL;
    for (unsigned i = 0; i < array_len(command) && command[i].name; i++)
        if (strcmp(command[i].name, line) == 0)
            fn = command[i].fn;
    if (fn)
        fn(fd, argument ? argument : "");
    else
        control_error(fd, "no such command");
}

// A child may hold a copy until it knows of its fork; shutdown ends the connection even so.
static void hang_up(struct client *c)
{
    if (ours(&c->at))
        shutdown(c->at.fd, SHUT_RDWR);
    drop(&c->at);
}

static bool printable(const char *line)
{
    for (; *line; line++)
        if (*line < ' ' || *line > '~')
            return false;
    return true;
}

static void reply(struct client *c, char *end)
{
    *end = '\0';
    answer.broken = false;
    answer.steps = 0;
    if (printable(c->line) && strlen(c->line) == (size_t)(end - c->line))
        run(c->at.fd, c->line);
    else
        control_error(c->at.fd, "not a request");
    send_text(c->at.fd, CONTROL_END "\n");
    hang_up(c);
}

static void receive(struct client *c, uint64_t now)
{
    if (!ours(&c->at)) {
        c->at.open = false;
        return;
    }
    size_t room = sizeof c->line - c->length;
    ssize_t n = recv(c->at.fd, c->line + c->length, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (now - c->since_ms > REQUEST_MS)
            hang_up(c);
        return;
    }
    if (n <= 0) {
        hang_up(c);
        return;
    }
    c->length += (unsigned)n;
    char *end = memchr(c->line, '\n', c->length);
    if (end)
        reply(c, end);
    else if (c->length == sizeof c->line)
        hang_up(c);
}

// The slot for a new client; NULL while all are taken by clients that came just now.
static struct client *seat(uint64_t now)
{
    struct client *oldest = &client[0];
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (!client[i].at.open)
            return &client[i];
        if (client[i].since_ms < oldest->since_ms)
            oldest = &client[i];
    }
    return now - oldest->since_ms > SEAT_MS ? oldest : NULL;
}

// False when the client has gone.
static bool admit(uint64_t now)
{
    static const char no[] = "error permission denied\n";
    struct client *c = seat(now);
    if (!c)
        return false;
    int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR;
    hang_up(c);
    // Moved up first: the low number may be taken by the program meanwhile.
    if (adopt(&c->at, fd))
        return true;
    if (!may_ask(c->at.fd)) {
        ssize_t n = send(c->at.fd, no, sizeof no - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)n;
        hang_up(c);
        return true;
    }
    c->since_ms = now;
    c->length = 0;
    // Mostly the request is there already.
    receive(c, now);
    return true;
}

static void lose(uint64_t now)
{
    listener.open = false;
    retry_at_ms = now + retry_ms;
}

void control_serve(uint64_t now)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (client[i].at.open)
            receive(&client[i], now);
    for (unsigned i = 0; listener.open && i < ACCEPTS; i++) {
        // An accept on the program's own socket would take a connection from it.
        if (!ours(&listener))
            lose(now);
        else if (!admit(now))
            break;
    }
}

unsigned control_wait_on(struct pollfd *fds, uint64_t now)
{
    unsigned n = 0;
    if (listener.open && !ours(&listener))
        lose(now);
    if (listener.open && seat(now))
        fds[n++] = (struct pollfd){.fd = listener.fd, .events = POLLIN};
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (client[i].at.open && !ours(&client[i].at))
            client[i].at.open = false;
        if (client[i].at.open)
            fds[n++] = (struct pollfd){.fd = client[i].at.fd, .events = POLLIN};
    }
    return n;
}

static uint64_t random_number(void)
{
    uint64_t x;
    struct timespec t;
    if (getrandom(&x, sizeof x, GRND_NONBLOCK) == sizeof x)
        return x;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static socklen_t make_name(struct sockaddr_un *a)
{
    struct stat ns;
    // The first byte stays 0: an abstract name.
    struct out o = out_begin(a->sun_path + 1, sizeof a->sun_path - 1, "");
    out_text(&o, CONTROL_PREFIX);
    out_number(&o, stat("/proc/self/ns/pid", &ns) == 0 ? ns.st_ino : 0);
    out_char(&o, '/');
    out_number(&o, (uint64_t)getpid());
    out_char(&o, '/');
    out_number(&o, random_number());
    return (socklen_t)(o.at - (char *)a);
}

static int try_open(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    // Remembered before it has a name: should the program fork just now, the child closes it, and
    // a copy that it does not know of keeps no name alive.
    int err = adopt(&listener, fd);
    if (err)
        return err;
    if (bind(listener.fd, (struct sockaddr *)&a, make_name(&a)) == 0 &&
        listen(listener.fd, BACKLOG) == 0)
        return 0;
    err = -errno;
    drop(&listener);
    return err;
}

static int open_again(uint64_t now)
{
    int err = try_open();
    retry_at_ms = now + retry_ms;
    if (retry_ms < RETRY_MAX_MS)
        retry_ms *= 2;
    if (!err || failed_before)
        return 0;
    failed_before = true;
    return err;
}

int control_tick(uint64_t now)
{
    // A client that says nothing does not wake the thread.
    for (unsigned i = 0; i < CLIENTS; i++)
        if (client[i].at.open && now - client[i].since_ms > REQUEST_MS)
            hang_up(&client[i]);
    return listener.open || now < retry_at_ms ? 0 : open_again(now);
}

void control_child(void)
{
    drop(&listener);
    for (unsigned i = 0; i < CLIENTS; i++)
        drop(&client[i].at);
    retry_at_ms = 0;
    retry_ms = RETRY_MS;
    failed_before = false;
}
