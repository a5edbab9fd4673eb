// term - see term.h. Plain sequences that every terminal since the VT220 knows.

#include "shim/cli/top/term.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "shim/base.h"

// Its own screen, no cursor; and back, with the colours off.
static const char enter[] = "\033[?1049h\033[?25l\033[2J";
static const char leave[] = "\033[0m\033[?25h\033[?1049l";

static struct termios before;
static bool has_keys; // standard input is the terminal, too
static volatile sig_atomic_t is_open, ended_by, stopped;
static sigset_t handled, usual;

bool term_usable(void)
{
    const char *name = getenv("TERM");
    return isatty(STDOUT_FILENO) && name && *name && strcmp(name, "dumb") != 0;
}

void term_write(const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(STDOUT_FILENO, bytes, length);
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
            continue;
        }
        struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (errno != EINTR && (errno != EAGAIN || poll(&p, 1, 1000) <= 0))
            return;
    }
}

// Safe in a signal handler.
static void restore(void)
{
    if (!is_open)
        return;
    is_open = 0;
    ssize_t n = write(STDOUT_FILENO, leave, sizeof leave - 1);
    (void)n;
    if (has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static void take_over(void)
{
    struct termios raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    // In the background tcsetattr would stop us.
    if (has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    term_write(enter, sizeof enter - 1);
    is_open = 1;
}

static void on_end(int sig)
{
    ended_by = sig;
}

static void on_crash(int sig)
{
    restore();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void on_stop(int sig)
{
    (void)sig;
    stopped = 1;
}

static void on_resize(int sig)
{
    (void)sig;
}

static void handle(int sig, void (*handler)(int), bool held)
{
    struct sigaction a = {.sa_handler = handler};
    sigaction(sig, &a, NULL);
    if (held)
        sigaddset(&handled, sig);
}

void term_open(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGXCPU};
    has_keys = tcgetattr(STDIN_FILENO, &before) == 0;
    sigemptyset(&handled);
    for (unsigned i = 0; i < array_len(ends); i++)
        handle(ends[i], on_end, true);
    for (unsigned i = 0; i < array_len(crashes); i++)
        handle(crashes[i], on_crash, false);
    handle(SIGTSTP, on_stop, true);
    handle(SIGWINCH, on_resize, true);
    // Held back but while we wait for a key: nothing is torn in the middle.
    sigprocmask(SIG_BLOCK, &handled, &usual);
    atexit(restore);
    take_over();
}

void term_close(void)
{
    restore();
    sigprocmask(SIG_SETMASK, &usual, NULL);
}

int term_signal(void)
{
    return ended_by;
}

void term_size(unsigned *columns, unsigned *rows)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row;
    *columns = known ? w.ws_col : 80;
    *rows = known ? w.ws_row : 24;
}

// As the shell expects of a program that it stops: the terminal is its own meanwhile.
static void stop(void)
{
    stopped = 0;
    restore();
    raise(SIGSTOP);
    take_over();
}

// What was typed and not taken yet; a user may type faster than this program reads.
static struct {
    char bytes[64];
    size_t count;
} typed;

static void forget(size_t n)
{
    typed.count -= n;
    memmove(typed.bytes, typed.bytes + n, typed.count);
}

// The bytes of a sequence at the front: ESC [ or ESC O, then up to a letter or a tilde.
static size_t sequence_length(void)
{
    const char *s = typed.bytes;
    if (typed.count < 2 || (s[1] != '[' && s[1] != 'O'))
        return 1;
    for (size_t n = 2; n < typed.count; n++)
        if (s[n] >= '@' && s[n] <= '~')
            return n + 1;
    return typed.count;
}

static int take_sequence(void)
{
    static const struct {
        const char *bytes;
        int key;
    } known[] = {
        {"[A", TERM_UP},       {"[B", TERM_DOWN},       {"[C", TERM_RIGHT}, {"[D", TERM_LEFT},
        {"OA", TERM_UP},       {"OB", TERM_DOWN},       {"OC", TERM_RIGHT}, {"OD", TERM_LEFT},
        {"[5~", TERM_PAGE_UP}, {"[6~", TERM_PAGE_DOWN}, {"[H", TERM_HOME},  {"[F", TERM_END},
        {"[1~", TERM_HOME},    {"[4~", TERM_END},
    };
    size_t n = sequence_length();
    int key = TERM_NOTHING;
    for (unsigned i = 0; i < array_len(known); i++)
        if (n == strlen(known[i].bytes) + 1 && memcmp(typed.bytes + 1, known[i].bytes, n - 1) == 0)
            key = known[i].key;
    forget(n);
    return key;
}

static int take_key(void)
{
    int key = (unsigned char)typed.bytes[0];
    if (key == '\033')
        return take_sequence();
    forget(1);
    return key;
}

static int read_key(void)
{
    ssize_t n = read(STDIN_FILENO, typed.bytes, sizeof typed.bytes);
    if (n <= 0)
        return n < 0 && errno == EINTR ? TERM_NOTHING : TERM_CLOSED;
    typed.count = (size_t)n;
    return take_key();
}

int term_wait(unsigned ms)
{
    if (typed.count)
        return take_key();
    struct pollfd p = {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    int ready = ppoll(&p, 1, &t, &usual);
    if (stopped)
        stop();
    if (ended_by)
        return TERM_CLOSED;
    return ready > 0 ? read_key() : TERM_NOTHING;
}
