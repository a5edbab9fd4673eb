// The control channel with clients that ask, stall, lie, flood and go away, while the program forks
// and closes our descriptors, for ThreadSanitizer (make race SAN=thread) and without it. About 3 s.
//
// One thread serves, as the watchdog's would. Every honest client must get its whole answer; the
// server must never be held up for longer than an answer may take, and a child must have no copy.

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "export/control.h"
#include "pressure/evaluate.h"
#include "shim/base.h"

#ifdef __SANITIZE_THREAD__
#define TURNS 30
#else
#define TURNS 150
#endif
#define HONEST 3
#define LOSSES 2
#define BIG 150000 // within the socket's buffer
// A round takes microseconds; with a slow reader 50 ms. The rest, and for how long a thread that
// only naps was held up, is a loaded machine's.
#define HELD_UP_MS 1000

static _Atomic bool done;
static _Atomic unsigned served, answers, refused_lies, longest_ms, losses, forks_done;
static _Atomic unsigned machine_ms; // the longest time in which it ran nothing of ours
static char big[BIG];

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "control_race: %s (errno %d)\n", what, errno);
    abort();
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void nap_ms(unsigned ms)
{
    usleep(ms * 1000);
}

static void *naps(void *arg)
{
    uint64_t before = now_ms(), now;

    (void)arg;
    while (!atomic_load(&done)) {
        nap_ms(10);
        now = now_ms();
        if (now - before > atomic_load(&machine_ms))
            atomic_store(&machine_ms, (unsigned)(now - before));
        before = now;
    }
    return NULL;
}

static void echo(int fd, const char *argument)
{
    control_ok(fd);
    control_send(fd, argument, strlen(argument));
    control_send(fd, "\n", 1);
    atomic_fetch_add(&served, 1);
}

static void send_big(int fd, const char *argument)
{
    (void)argument;
    control_ok(fd);
    control_send(fd, big, sizeof big);
}

// Far more than any buffer: the rest is not waited for.
static void send_huge(int fd, const char *argument)
{
    (void)argument;
    control_ok(fd);
    for (int i = 0; i < 1000 && control_send(fd, big, sizeof big); i++)
        ;
}

static void *serve(void *arg)
{
    struct pollfd fds[PRESSURE_WAIT_FDS];
    uint64_t ticked = 0;
    (void)arg;
    while (!atomic_load(&done)) {
        uint64_t now = now_ms();
        if (now - ticked >= 50) {
            int err = control_tick(now);
            check(err == 0, "the socket does not open");
            ticked = now;
        }
        unsigned n = control_wait_on(fds, now);
        check(n <= PRESSURE_WAIT_FDS, "too many descriptors");
        if (poll(fds, n, 20) <= 0)
            continue;
        uint64_t start = now_ms();
        control_serve(start);
        uint64_t took = now_ms() - start;
        if (took > atomic_load(&longest_ms))
            atomic_store(&longest_ms, (unsigned)took);
        nap_ms(1);
    }
    return NULL;
}

// The name of this process's socket, as tools find it: after it was lost it is another.
static bool find_name(struct sockaddr_un *a, socklen_t *size)
{
    char line[512], mark[32];
    bool found = false;
    snprintf(mark, sizeof mark, "/%d/", (int)getpid());
    FILE *f = fopen("/proc/net/unix", "r");
    check(f != NULL, "no /proc/net/unix");
    while (!found && fgets(line, sizeof line, f)) {
        char *name = strstr(line, "@" CONTROL_PREFIX);
        line[strcspn(line, "\n")] = '\0';
        // Only the one that listens.
        if (!name || !strstr(name, mark) || !strstr(line, " 00010000 "))
            continue;
        *a = (struct sockaddr_un){.sun_family = AF_UNIX};
        memcpy(a->sun_path + 1, name + 1, strlen(name) - 1);
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
        found = true;
    }
    fclose(f);
    return found;
}

static int dial(void)
{
    struct sockaddr_un a;
    socklen_t size;
    struct timeval patience = {.tv_sec = 20};
    for (int i = 0; i < 2000; i++) {
        if (find_name(&a, &size)) {
            int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            check(fd >= 0, "socket");
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
            if (connect(fd, (struct sockaddr *)&a, size) == 0)
                return fd;
            close(fd);
        }
        nap_ms(5);
    }
    check(false, "the server is not found");
    return -1;
}

static size_t read_all(int fd, char *out, size_t size)
{
    size_t used = 0;
    for (ssize_t n; used < size && (n = recv(fd, out + used, size - used, 0)) > 0;)
        used += (size_t)n;
    return used;
}

// Honest callers may be turned away while others take all the seats, or when the socket is
// lost: they ask again.
static void *honest(void *arg)
{
    static const char tail[] = CONTROL_END "\n";
    char *text = malloc(BIG + 100);
    for (int turn = 0; turn < TURNS || atomic_load(&losses) < LOSSES; turn++) {
        bool ok = false;
        for (int again = 0; again < 300 && !ok; again++) {
            char request[64], expect[100];
            bool large = turn % 8 == 0;
            snprintf(request, sizeof request, "%s %d-%d\n", large ? "big" : "echo",
                     (int)(size_t)arg, turn);
            snprintf(expect, sizeof expect, "ok\n%d-%d\n%s", (int)(size_t)arg, turn, tail);
            int fd = dial();
            send(fd, request, strlen(request), MSG_NOSIGNAL);
            size_t n = read_all(fd, text, BIG + 100);
            ok = large ? n == 3 + BIG + sizeof tail - 1 && memcmp(text + 3, big, BIG) == 0
                       : n == strlen(expect) && memcmp(text, expect, n) == 0;
            close(fd);
            if (!ok)
                nap_ms(20);
        }
        check(ok, "an honest client got no answer");
        atomic_fetch_add(&answers, 1);
    }
    free(text);
    return NULL;
}

static void *hostile(void *arg)
{
    static const char *const lies[] = {"echo \x1b[2J\n", "nothing\n",   "\n",     " \n",
                                       "echo",           "echo a\0b\n", "huge\n", "big\n"};
    static char flood[4096];
    (void)arg;
    memset(flood, 'x', sizeof flood);
    for (unsigned turn = 0; !atomic_load(&done); turn++) {
        int fds[6];
        // Some that never say a word, one that says half a line, one that never reads.
        for (unsigned i = 0; i < array_len(fds); i++)
            fds[i] = dial();
        const char *lie = lies[turn % array_len(lies)];
        size_t length = strncmp(lie, "echo a", 6) == 0 ? 9 : strlen(lie);
        send(fds[0], lie, length, MSG_NOSIGNAL);
        send(fds[1], flood, sizeof flood, MSG_NOSIGNAL);
        shutdown(fds[2], SHUT_WR);
        send(fds[3], "huge\n", 5, MSG_NOSIGNAL);
        if (turn % 4 == 0) {
            char text[256] = "";
            struct timeval patience = {.tv_usec = 300000};
            setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            size_t n = read_all(fds[0], text, sizeof text - 1);
            if (n > 6 && strncmp(text, "error ", 6) == 0)
                atomic_fetch_add(&refused_lies, 1);
        }
        nap_ms(turn % 30);
        for (unsigned i = 0; i < array_len(fds); i++)
            close(fds[i]);
    }
    return NULL;
}

// How many that listen, or that are connected, are among our descriptors.
static unsigned own_sockets(bool listening)
{
    unsigned n = 0;
    for (int fd = 512; fd < 1024; fd++) {
        int listens = 0;
        socklen_t size = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0)
            n += (listens != 0) == listening;
    }
    return n;
}

static void *forks(void *arg)
{
    (void)arg;
    // One that is being opened has no owner yet.
    while (!atomic_load(&done) && !own_sockets(true))
        usleep(1000);
    usleep(50000);
    for (int i = 0; !atomic_load(&done) && i < TURNS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            control_child();
            // A connection that was being accepted or closed just then may be unknown yet.
            _exit(own_sockets(true) == 0 && own_sockets(false) <= 1 ? 0 : 1);
        }
        int status = -1;
        waitpid(pid, &status, 0);
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child has copies");
        atomic_fetch_add(&forks_done, 1);
        nap_ms(7);
    }
    return NULL;
}

// The program closes what it did not open.
static void *closer(void *arg)
{
    (void)arg;
    for (int i = 0; i < LOSSES; i++) {
        nap_ms(200);
        // Past ThreadSanitizer, to which the number is in use.
        for (int fd = 512; fd < 540; fd++)
            syscall(SYS_close, fd);
        nap_ms(1000);
        atomic_fetch_add(&losses, 1);
    }
    return NULL;
}

int main(void)
{
    pthread_t server, napping, client[HONEST], enemy, forker, closing;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)('a' + i % 23);
    check(control_register("echo", echo) == 0 && control_register("big", send_big) == 0 &&
              control_register("huge", send_huge) == 0,
          "register");
    pthread_create(&server, NULL, serve, NULL);
    pthread_create(&napping, NULL, naps, NULL);
    pthread_create(&enemy, NULL, hostile, NULL);
    pthread_create(&forker, NULL, forks, NULL);
    pthread_create(&closing, NULL, closer, NULL);
    for (size_t i = 0; i < HONEST; i++)
        pthread_create(&client[i], NULL, honest, (void *)i); // NOLINT
    for (int i = 0; i < HONEST; i++)
        pthread_join(client[i], NULL);
    atomic_store(&done, true);
    pthread_join(forker, NULL);
    pthread_join(enemy, NULL);
    pthread_join(closing, NULL);
    pthread_join(server, NULL);
    pthread_join(napping, NULL);
    check(atomic_load(&answers) >= HONEST * TURNS, "answers are missing");
    check(atomic_load(&refused_lies) > 0, "no lie was told so");
    check(atomic_load(&longest_ms) < HELD_UP_MS + atomic_load(&machine_ms),
          "the server was held up");
    printf("control_race: %u answers, %u echoes, %u forks, at most %u ms held up\n",
           atomic_load(&answers), atomic_load(&served), atomic_load(&forks_done),
           atomic_load(&longest_ms));
    return 0;
}
