// log - see log.h. Nothing here may allocate, lock, or change what the program would see.

#include "shim/base/log.h"

#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"

static const struct kind {
    int verbose;  // shown from this TIDEPOOL_VERBOSE on; -1: even if quiet
    unsigned cap; // 0: none
    int wait_ms;  // for room in a full pipe, before the line is dropped
} kinds[LOG_KINDS] = {
    [LOG_CONFIG] = {0, LOG_CAP, 0},
    [LOG_FEATURE] = {0, LOG_CAP, 0},
    // The process often aborts right after this line: it is worth a wait.
    [LOG_MISUSE] = {-1, LOG_CAP, 1000},
    [LOG_PRESSURE] = {0, LOG_CAP, 0},
    [LOG_STATS] = {-1, 0, 1000},
    [LOG_INFO] = {1, LOG_CAP, 0},
    [LOG_DETAIL] = {2, 0, 0},
    [LOG_DEBUG] = {3, 0, 0},
};

static _Atomic unsigned written[LOG_KINDS];
static _Atomic int verbosity;

// What descriptor 2 was when the process started. Two first lines at once may both fill it in: they
// see the same descriptor and store the same values. `known` is stored last.
static struct {
    dev_t dev;
    ino_t ino;
    bool open;
    _Atomic bool known;
} origin;

struct text {
    char *at;
    char *end; // room for the final NUL is kept behind it
    bool cut;
};

static void put(struct text *t, char c)
{
    if (t->at < t->end)
        *t->at++ = c;
    else
        t->cut = true;
}

static void put_string(struct text *t, const char *s)
{
    for (s = s ? s : "(null)"; *s && !t->cut; s++)
        put(t, *s);
}

static void put_number(struct text *t, uint64_t n, unsigned base)
{
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n);
    while (count)
        put(t, digits[--count]);
}

static void put_signed(struct text *t, int64_t n)
{
    if (n < 0)
        put(t, '-');
    put_number(t, n < 0 ? -(uint64_t)n : (uint64_t)n, 10);
}

// Formats by hand: stdio may allocate, and its locale lookups are not for signal handlers.
size_t log_vformat(char *out, size_t size, const char *fmt, va_list args)
{
    if (!size)
        return 0;
    struct text t = {.at = out, .end = out + size - 1};
    for (; *fmt && !t.cut; fmt++) {
        if (*fmt != '%') {
            put(&t, *fmt);
            continue;
        }
        unsigned length = 0;
        for (fmt++; *fmt == 'l' || *fmt == 'z'; fmt++)
            length += *fmt == 'z' ? 3 : 1;
        switch (*fmt) {
        case 's':
            put_string(&t, va_arg(args, const char *));
            break;
        case 'c':
            put(&t, (char)va_arg(args, int));
            break;
        case 'd':
        case 'i':
            put_signed(&t, length == 0   ? va_arg(args, int)
                           : length == 1 ? va_arg(args, long)
                           : length == 2 ? va_arg(args, long long)
                                         : va_arg(args, ssize_t));
            break;
        case 'u':
        case 'x':
            put_number(&t,
                       length == 0   ? va_arg(args, unsigned)
                       : length == 1 ? va_arg(args, unsigned long)
                       : length == 2 ? va_arg(args, unsigned long long)
                                     : va_arg(args, size_t),
                       *fmt == 'x' ? 16 : 10);
            break;
        case 'p':
            put_string(&t, "0x");
            put_number(&t, (uintptr_t)va_arg(args, void *), 16);
            break;
        case '%':
            put(&t, '%');
            break;
        default:
            // Its argument's size is unknown, so everything behind it would be read wrongly.
            t.cut = true;
            break;
        }
        if (!*fmt)
            break;
    }
    if (t.cut && size > 3) {
        // After an unknown conversion there may still be room; else the last bytes give way.
        char *dots = t.end - t.at >= 3 ? t.at : t.end - 3;
        memcpy(dots, "...", 3);
        t.at = dots + 3;
    }
    *t.at = '\0';
    return (size_t)(t.at - out);
}

size_t log_format(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t length = log_vformat(out, size, fmt, args);
    va_end(args);
    return length;
}

static void remember(void)
{
    struct stat st;
    origin.open = fstat(STDERR_FILENO, &st) == 0;
    origin.dev = origin.open ? st.st_dev : 0;
    origin.ino = origin.open ? st.st_ino : 0;
    atomic_store_explicit(&origin.known, true, memory_order_release);
}

void log_start(void)
{
    int saved = errno;
    // A line may have gone out before the constructors; what 2 was then is as good.
    if (!atomic_load_explicit(&origin.known, memory_order_acquire))
        remember();
    errno = saved;
}

void log_set_verbose(int verbose)
{
    atomic_store_explicit(&verbosity, verbose, memory_order_relaxed);
}

// Is descriptor 2 still what the program was started with?
static bool is_ours(mode_t *mode)
{
    if (!atomic_load_explicit(&origin.known, memory_order_acquire))
        remember();
    struct stat st;
    if (!origin.open || fstat(STDERR_FILENO, &st) < 0)
        return false;
    *mode = st.st_mode;
    return st.st_dev == origin.dev && st.st_ino == origin.ino;
}

// This thread's copy of 2, where it has a table of its own. 0: it has none, and shares the
// program's.
static _Atomic pid_t copy_owner;

bool log_own_descriptors(void)
{
    int saved = errno;
    atomic_store(&copy_owner, 0);
    bool own = syscall(SYS_close_range, STDERR_FILENO + 1U, ~0U, CLOSE_RANGE_UNSHARE) == 0;
    if (own) {
        syscall(SYS_close_range, 0U, STDERR_FILENO - 1U, 0U);
        atomic_store(&copy_owner, (pid_t)syscall(SYS_gettid));
        log_drop_copy();
    }
    errno = saved;
    return own;
}

// Is the program's 2 still what it was? Where there is no /proc (in a chroot) the answer is taken
// for yes.
static bool program_has_it(void)
{
    struct stat st;
    if (stat("/proc/self/fd/2", &st) != 0)
        return stat("/proc/self/fd", &st) != 0;
    return st.st_dev == origin.dev && st.st_ino == origin.ino;
}

void log_drop_copy(void)
{
    int saved = errno;
    if (atomic_load(&copy_owner) == (pid_t)syscall(SYS_gettid) && !program_has_it()) {
        syscall(SYS_close, STDERR_FILENO);
        atomic_store(&copy_owner, 0);
    }
    errno = saved;
}

// Raw calls from here on: libc's write, poll and sigtimedwait are cancellation points, and malloc
// is none.
static void emit(const char *text, size_t length)
{
    while (syscall(SYS_write, STDERR_FILENO, text, length) < 0 && errno == EINTR)
        ;
}

static bool has_room(int wait_ms)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    struct timespec wait = {wait_ms / 1000, (long)(wait_ms % 1000) * 1000000};
    return syscall(SYS_ppoll, &room, 1, &wait, NULL, _NSIG / 8) == 1;
}

// Writes to a pipe or socket whose reader may be gone: a SIGPIPE of ours is taken back before it is
// delivered, and one that was pending already is left alone.
static void emit_to_pipe(const char *text, size_t length)
{
    sigset_t pipe_set, old, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    emit(text, length);
    if (!sigismember(&pending, SIGPIPE)) {
        const struct timespec now = {0, 0};
        while (syscall(SYS_rt_sigtimedwait, &pipe_set, NULL, &now, _NSIG / 8) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void write_line(const struct kind *k, const char *text, size_t length)
{
    mode_t mode = 0;
    if (!is_ours(&mode))
        return;
    // A reader that stopped reading must not stop the watchdog, or a thread inside malloc.
    if (!S_ISREG(mode) && !has_room(k->wait_ms))
        return;
    if (S_ISFIFO(mode) || S_ISSOCK(mode))
        emit_to_pipe(text, length);
    else
        emit(text, length);
}

void log_line(enum log_kind kind, const char *fmt, ...)
{
    const struct kind *k = &kinds[kind];
    if (atomic_load_explicit(&verbosity, memory_order_relaxed) < k->verbose)
        return;
    int saved = errno;
    unsigned nth = k->cap ? atomic_fetch_add_explicit(&written[kind], 1, memory_order_relaxed) : 0;
    // The counter stops short of wrapping round, which would show the first lines again.
    if (k->cap && nth > k->cap)
        atomic_store_explicit(&written[kind], k->cap + 1, memory_order_relaxed);
    if (nth > k->cap) {
        errno = saved;
        return;
    }

    static const char prefix[] = "tidepool: ";
    char line[LOG_LINE_MAX];
    memcpy(line, prefix, sizeof prefix - 1);
    size_t length = sizeof prefix - 1;
    if (k->cap && nth == k->cap) {
        length += log_format(line + length, sizeof line - length,
                             "more lines of this kind are not shown");
    } else {
        va_list args;
        va_start(args, fmt);
        length += log_vformat(line + length, sizeof line - length, fmt, args);
        va_end(args);
    }
    line[length++] = '\n'; // over the NUL
    write_line(k, line, length);
    errno = saved;
}
