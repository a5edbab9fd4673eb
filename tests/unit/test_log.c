// A line is caught by putting a pipe in the place of descriptor 2; each test is a process of its
// own, so the log's state is fresh. The formatter is tested as the pure function it is.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/base/log.h"

static int reader;

static void pipe_on_stderr(void)
{
    int ends[2];
    cr_assert(zero(int, pipe(ends)));
    cr_assert(dup2(ends[1], 2) == 2);
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    reader = ends[0];
}

static const char *caught(void)
{
    static char text[8192];
    ssize_t n = read(reader, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect(const char *got, const char *want)
{
    cr_expect(zero(int, strcmp(got, want)), "got \"%s\", not \"%s\"", got, want);
}

Test(log, formats_what_it_promises)
{
    char out[256];
    size_t n = log_format(out, sizeof out, "%s|%c|%d|%i|%u|%x|%ld|%lu|%lld|%llu|%zu|%zd|%%", "s",
                          'c', INT_MIN, 7, UINT_MAX, 0xbeefu, LONG_MIN, ULONG_MAX, LLONG_MAX,
                          ULLONG_MAX, (size_t)0, (ssize_t)-1);
    const char *want =
        "s|c|-2147483648|7|4294967295|beef|-9223372036854775808|18446744073709551615|"
        "9223372036854775807|18446744073709551615|0|-1|%";
    expect(out, want);
    cr_expect(eq(sz, n, strlen(want)));
    log_format(out, sizeof out, "%p %p", (void *)0x7f00, NULL);
    expect(out, "0x7f00 0x0");
}

Test(log, cuts_what_does_not_fit_and_never_writes_past_the_end)
{
    for (size_t size = 0; size < 12; size++) {
        char out[16];
        memset(out, '#', sizeof out);
        size_t n = log_format(out, size, "%s", "0123456789");
        for (size_t i = size; i < sizeof out; i++)
            cr_expect(eq(chr, out[i], '#'), "size %zu wrote at %zu", size, i);
        if (size)
            cr_expect(eq(sz, n, strlen(out)));
        if (size >= 5 && size <= 10)
            cr_expect(zero(int, strcmp(out + n - 3, "...")), "size %zu: %s", size, out);
    }
    char out[11];
    log_format(out, sizeof out, "%s", "0123456789");
    expect(out, "0123456789");
}

Test(log, shows_a_missing_string_and_stops_at_an_unknown_conversion)
{
    char out[64];
    // Not literals, or the compiler would refuse them.
    const char *volatile missing = NULL;
    const char *volatile unknown = "a%d%q%d";
    log_format(out, sizeof out, "%s", missing);
    expect(out, "(null)");
    log_format(out, sizeof out, unknown, 1, 2);
    expect(out, "a1...");
}

Test(log, writes_one_line_with_prefix_and_keeps_errno)
{
    pipe_on_stderr();
    errno = EXDEV;
    log_line(LOG_FEATURE, "membarrier refused: %s", "x");
    cr_expect(eq(int, errno, EXDEV));
    expect(caught(), "tidepool: membarrier refused: x\n");
}

Test(log, a_long_line_still_ends_in_a_newline)
{
    pipe_on_stderr();
    char big[LOG_LINE_MAX * 2];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    log_line(LOG_INFO, "hidden at verbosity 0");
    log_line(LOG_CONFIG, "%s", big);
    const char *got = caught();
    cr_expect(eq(sz, strlen(got), (size_t)LOG_LINE_MAX));
    cr_expect(zero(int, strcmp(got + LOG_LINE_MAX - 4, "...\n")));
}

Test(log, verbosity_opens_the_kinds_one_by_one)
{
    pipe_on_stderr();
    for (unsigned v = 0; v < 4; v++) {
        log_set_verbose(v);
        log_line(LOG_INFO, "%u info", v);
        log_line(LOG_DETAIL, "%u detail", v);
        log_line(LOG_DEBUG, "%u debug", v);
    }
    expect(caught(), "tidepool: 1 info\ntidepool: 2 info\ntidepool: 2 detail\n"
                     "tidepool: 3 info\ntidepool: 3 detail\ntidepool: 3 debug\n");
}

Test(log, caps_each_kind_by_itself_and_says_so_once)
{
    pipe_on_stderr();
    for (int i = 0; i < 100; i++)
        log_line(LOG_CONFIG, "a");
    log_line(LOG_MISUSE, "b");
    for (int i = 0; i < 40; i++)
        log_line(LOG_STATS, "c");
    char want[4096] = "";
    for (int i = 0; i < LOG_CAP; i++)
        strcat(want, "tidepool: a\n");
    strcat(want, "tidepool: more lines of this kind are not shown\ntidepool: b\n");
    for (int i = 0; i < 40; i++)
        strcat(want, "tidepool: c\n");
    expect(caught(), want);
}

Test(log, writes_nothing_into_a_file_that_took_the_place_of_stderr)
{
    pipe_on_stderr();
    log_start();
    char path[] = "/tmp/test_log.XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    dup2(fd, 2);
    log_line(LOG_FEATURE, "not for you");
    struct stat st;
    fstat(fd, &st);
    cr_expect(zero(long, (long)st.st_size));
}

Test(log, a_closed_stderr_stays_closed)
{
    close(2);
    log_start();
    pipe_on_stderr(); // opened by the program: not ours
    errno = 0;
    log_line(LOG_FEATURE, "no reader listens");
    cr_expect(zero(int, errno));
    expect(caught(), "");
}

Test(log, a_reader_that_is_gone_does_not_kill)
{
    pipe_on_stderr();
    close(reader);
    errno = EXDEV;
    log_line(LOG_FEATURE, "into the void");
    cr_expect(eq(int, errno, EXDEV));
    sigset_t pending;
    sigpending(&pending);
    cr_expect(not(sigismember(&pending, SIGPIPE)));
}

Test(log, a_pending_sigpipe_of_the_program_stays_pending)
{
    pipe_on_stderr();
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    close(reader);
    log_line(LOG_FEATURE, "into the void");
    sigpending(&pending);
    cr_expect(sigismember(&pending, SIGPIPE));
}

Test(log, a_full_pipe_drops_the_line_instead_of_waiting, .timeout = 20)
{
    pipe_on_stderr();
    char block[4096];
    memset(block, 'z', sizeof block);
    fcntl(2, F_SETFL, O_NONBLOCK);
    while (write(2, block, sizeof block) > 0)
        ;
    fcntl(2, F_SETFL, 0);
    log_line(LOG_FEATURE, "no room");
    log_line(LOG_MISUSE, "no room for this one, either");
}
