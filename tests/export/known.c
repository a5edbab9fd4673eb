// A program whose numbers are known: it does what its arguments say, prints "ready", and then
// answers lines on stdin until there are none.
//
//     known [WORD...]    thread     one more thread, asleep: the exporter starts at once
//                        live       keeps 10 blocks of 3000 bytes and 3 of 100000
//                        free       leaves 16 blocks of 3000 bytes free
//                        misuse     two double frees and one of an address inside a block
//                        reclaim    tidepool_reclaim(0)
//                        grow=MIB   that much memory, touched
//                        comm=NAME  calls itself so
//                        nofile     may open no file any more
//                        fork       goes on in a child; the parent waits for it
//                        vfork      makes a child by vfork() that leaves by exit()
//                        busy       mallocs and frees 3000 and 700 bytes each 50 ms, and obeys
//                                   lines meanwhile
//                        closing    closes each 2 ms what it finds open from 3 on, and appends to
//                                   a file of its own, ./own, at the lowest number
//                        chroot=DIR goes there
//
//     stats              tidepool_stats(), a line for each bucket, then "."
//     exit               by exit(); _exit, abort and exec likewise; exec-plain without the library

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/api/tidepool.h"

static void *sleeper(void *unused)
{
    free(malloc(100));
    pause();
    return unused;
}

static void keep(size_t size, int count)
{
    while (count--)
        memset(malloc(size), 1, size);
}

static void leave_free(void)
{
    void *block[16];

    for (int i = 0; i < 16; i++)
        block[i] = malloc(3000);
    for (int i = 0; i < 16; i++)
        free(block[i]);
}

static void misuse(void)
{
    char *block = malloc(5000);

    free(block);
    free(block);
    free(block);
    block = malloc(200000);
    free(block + 4096);
}

static void close_and_open(void)
{
    int fd;

    for (fd = 3; fd < 8; fd++)
        close(fd);
    for (fd = 510; fd < 516; fd++)
        close(fd);
    fd = open("own", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, "own\n", 4) != 4)
        abort();
}

static void work(void)
{
    free(malloc(3000));
    for (int i = 0; i < 10; i++)
        free(malloc(700));
}

static void obey(const char *word)
{
    pthread_t t;

    if (strcmp(word, "thread") == 0)
        pthread_create(&t, NULL, sleeper, NULL);
    else if (strcmp(word, "live") == 0)
        keep(3000, 10), keep(100000, 3);
    else if (strcmp(word, "free") == 0)
        leave_free();
    else if (strcmp(word, "misuse") == 0)
        misuse();
    else if (strcmp(word, "reclaim") == 0)
        tidepool_reclaim(0);
    else if (strncmp(word, "grow=", 5) == 0)
        keep((size_t)1 << 20, atoi(word + 5));
    else if (strncmp(word, "comm=", 5) == 0)
        prctl(PR_SET_NAME, word + 5);
    else if (strncmp(word, "chroot=", 7) == 0 && (chroot(word + 7) || chdir("/")))
        abort();
    else if (strcmp(word, "nofile") == 0)
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
    else if (strcmp(word, "fork") == 0 && fork() > 0)
        _exit(wait(NULL) < 0);
    else if (strcmp(word, "vfork") == 0 && vfork() == 0)
        exit(0);
}

static void stats(void)
{
    struct tidepool_bucket b[32];
    unsigned count = tidepool_stats(b, 32);

    for (unsigned i = 0; i < count; i++)
        printf("%lu created %lu reused %lu freed %lu live %lu live_bytes %lu free %lu free_bytes "
               "%lu limit %lu\n",
               b[i].bound, b[i].created, b[i].reused, b[i].freed, b[i].live, b[i].live_bytes,
               b[i].free, b[i].free_bytes, b[i].limit);
    puts(".");
}

// Read without stdio's buffer, so that poll() tells the truth.
static int next_line(char *line, size_t size)
{
    size_t n = 0;

    while (n < size - 1 && read(STDIN_FILENO, line + n, 1) == 1)
        if (line[n++] == '\n') {
            line[n - 1] = '\0';
            return 1;
        }
    return 0;
}

int main(int argc, char **argv)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    int busy = 0, closing = 0;
    char line[64];

    for (int i = 1; i < argc; i++) {
        obey(argv[i]);
        busy |= strcmp(argv[i], "busy") == 0;
        closing |= strcmp(argv[i], "closing") == 0;
    }
    printf("ready %d\n", getpid());
    fflush(stdout);
    for (;;) {
        if ((busy || closing) && poll(&in, 1, closing ? 0 : 50) == 0) {
            if (closing)
                close_and_open();
            work();
            continue;
        }
        if (!next_line(line, sizeof line))
            return 0;
        if (strcmp(line, "stats") == 0)
            stats();
        else if (strcmp(line, "exit") == 0)
            exit(0);
        else if (strcmp(line, "_exit") == 0)
            _exit(0);
        else if (strcmp(line, "abort") == 0)
            abort();
        else if (strcmp(line, "exec") == 0)
            execl("/bin/sleep", "sleep", "100", (char *)NULL);
        else if (strcmp(line, "exec-plain") == 0)
            execle("/bin/sleep", "sleep", "100", (char *)NULL, (char *[]){NULL});
        fflush(stdout);
    }
}
