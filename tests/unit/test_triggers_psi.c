// Accelerators: what they parse, and that they never touch a descriptor that is not theirs. Events
// come from FIFOs and sockets of our own; PSI itself only where this kernel has it.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pressure/kernel/private_fd.h"
#include "pressure/triggers/psi.h"

struct blob {
    char text[48];
    int len;
    char bytes[32];
};

ParameterizedTestParameters(source_psi, base64)
{
    static struct blob rows[] = {
        {"", 0, ""},
        {"QQ==", 1, "A"},
        {"QUI=", 2, "AB"},
        {"QUJD", 3, "ABC"},
        {"c29tZSAyMDAwMDAgMjAwMDAwMAA=", 20, "some 200000 2000000"},
        {"QQ", 1, "A"}, // unpadded, as some write it
        {"Q", -EINVAL, ""},
        {"Q===", -EINVAL, ""},
        {"QQ=", -EINVAL, ""},
        {"QQ==x", -EINVAL, ""},
        {"QU JD", -EINVAL, ""},
        {"QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD", -EINVAL, ""}, // more than fits
    };
    return cr_make_param_array(struct blob, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct blob *r, source_psi, base64)
{
    unsigned char out[20] = {0};
    cr_expect(eq(int, psi_decode(r->text, out, sizeof out), r->len), "%s", r->text);
    if (r->len > 0)
        cr_expect(eq(int, memcmp(out, r->bytes, (size_t)r->len), 0), "%s", r->text);
}

struct total {
    char text[80];
    bool ok;
    uint64_t total;
};

ParameterizedTestParameters(source_psi, total)
{
    static struct total rows[] = {
        {"some avg10=0.00 avg60=0.00 avg300=0.00 total=123\nfull total=9\n", true, 123},
        {"some total=99999999999999999999999\n", true, UINT64_MAX},
        {"full avg10=0.00 total=5\n", false, 0},
        {"some avg10=0.00\nfull total=5\n", false, 0},
        {"some total=\n", false, 0},
        {"some ", false, 0},
        {"", false, 0},
    };
    return cr_make_param_array(struct total, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct total *r, source_psi, total)
{
    uint64_t total = 0;
    cr_expect(eq(int, psi_parse_total(r->text, &total), r->ok), "%s", r->text);
    cr_expect(eq(ulong, total, r->total), "%s", r->text);
}

static struct psi_source source;
static struct psi_place nowhere;
static struct pressure_options options;
static char dir[64], path[96];
static struct pollfd fds[PSI_KINDS];
static enum psi_kind which[PSI_KINDS];

// Fixtures have no PSI of their own, so that only what a test names is open.
static void prepare(void)
{
    options = pressure_defaults;
    options.root = "/nonexistent";
    strcpy(dir, "/tmp/tidepool-test-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(dir), NULL));
    snprintf(path, sizeof path, "%s/watch", dir);
    options.watch_path = path;
}

static void tidy(void)
{
    psi_close(&source);
    unlink(path);
    rmdir(dir);
}

// A read of what is not ours may wait for ever.
TestSuite(triggers_psi_fds, .init = prepare, .fini = tidy, .timeout = 20);

static int arm_fifo(void)
{
    cr_assert(eq(int, mkfifo(path, 0600), 0));
    cr_assert(eq(uint, psi_arm(&source, &options, &nowhere, 1), 1));
    cr_assert(eq(uint, psi_fill(&source, fds, which, 1), 1));
    return fds[0].fd;
}

Test(triggers_psi_fds, live_high_and_close_on_exec)
{
    int fd = arm_fifo();
    cr_expect(ge(int, fd, PSI_LOWEST_FD));
    cr_expect(eq(int, fcntl(fd, F_GETFD), FD_CLOEXEC));
}

Test(triggers_psi_fds, fit_under_a_small_limit)
{
    struct rlimit small = {64, 64};
    cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &small), 0));
    int fd = arm_fifo();
    cr_expect(ge(int, fd, 40));
}

Test(triggers_psi_fds, a_fifo_is_read_and_believed)
{
    int fd = arm_fifo();
    int to = open(path, O_WRONLY);
    cr_assert(eq(int, (int)write(to, "x", 1), 1));
    cr_assert(eq(int, poll(fds, 1, 1000), 1));
    cr_expect(eq(int, psi_event(&source, which[0], fds[0].revents, 2), 1));
    cr_expect(eq(int, poll(fds, 1, 0), 0), "drained");
    close(to);
    cr_expect(eq(int, poll(fds, 1, 0), 0), "no end of file when the writer goes");
    cr_expect(eq(int, fcntl(fd, F_GETFD), FD_CLOEXEC));
}

Test(triggers_psi_fds, a_socket_gets_the_blob_and_gives_events)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(eq(int, bind(server, (struct sockaddr *)&at, sizeof at), 0));
    cr_assert(eq(int, listen(server, 1), 0));
    options.watch_write = "QUJD";
    cr_assert(eq(uint, psi_arm(&source, &options, &nowhere, 1), 1));
    int peer = accept(server, NULL, NULL);
    char got[8] = {0};
    cr_expect(eq(int, (int)read(peer, got, sizeof got), 3));
    cr_expect(eq(int, strcmp(got, "ABC"), 0));
    cr_assert(eq(int, (int)write(peer, "x", 1), 1));
    psi_fill(&source, fds, which, 1);
    cr_assert(eq(int, poll(fds, 1, 1000), 1));
    cr_expect(eq(int, psi_event(&source, which[0], fds[0].revents, 2), 1));
    // The manager went away: closed once, not polled for ever.
    close(peer);
    cr_assert(eq(int, poll(fds, 1, 1000), 1));
    psi_event(&source, which[0], fds[0].revents, 3);
    cr_expect(eq(uint, psi_fill(&source, fds, which, 3), 0));
}

Test(triggers_psi_fds, a_file_that_is_not_the_kernels_is_not_written_to)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert(eq(int, (int)write(fd, "mine", 4), 4));
    options.watch_write = "QUJD";
    cr_expect(eq(uint, psi_arm(&source, &options, &nowhere, 1), 0));
    char got[8] = {0};
    cr_expect(eq(int, (int)pread(fd, got, sizeof got, 0), 4));
    cr_expect(eq(int, strcmp(got, "mine"), 0));
    close(fd);
}

Test(triggers_psi_fds, dev_null_means_off)
{
    options.watch_path = "/dev/null";
    cr_expect(eq(uint, psi_arm(&source, &options, &nowhere, 1), 0));
}

Test(triggers_psi_fds, what_cannot_be_decoded_is_not_armed)
{
    cr_assert(eq(int, mkfifo(path, 0600), 0));
    options.watch_write = "not base64!";
    cr_expect(eq(uint, psi_arm(&source, &options, &nowhere, 1), 0));
}

Test(triggers_psi_fds, a_number_that_became_another_file_is_left_alone)
{
    int fd = arm_fifo();
    // As a program that closes everything and opens its own does.
    int theirs = open("/dev/zero", O_RDONLY);
    cr_assert(eq(int, dup2(theirs, fd), fd));
    cr_expect(eq(uint, psi_fill(&source, fds, which, 2), 0));
    psi_close(&source);
    cr_expect(ge(int, fcntl(fd, F_GETFD), 0), "theirs is open still");
}

Test(triggers_psi_fds, a_number_that_changes_during_the_poll_is_not_read)
{
    int fd = arm_fifo();
    int theirs[2];
    cr_assert(eq(int, pipe(theirs), 0));
    cr_assert(eq(int, (int)write(theirs[1], "x", 1), 1));
    cr_assert(eq(int, dup2(theirs[0], fd), fd));
    cr_expect(eq(int, psi_event(&source, which[0], POLLIN, 2), 0));
    char c = 0;
    cr_expect(eq(int, (int)read(fd, &c, 1), 1), "their byte is still there");
}

Test(triggers_psi_fds, a_lost_one_comes_back_a_few_times)
{
    uint64_t now = 1;
    unsigned came_back = 0;
    arm_fifo();
    for (int i = 0; i < 10; i++) {
        if (psi_fill(&source, fds, which, now))
            close(fds[0].fd);
        psi_fill(&source, fds, which, now);
        now += 60000;
        came_back += psi_arm(&source, &options, &nowhere, now);
    }
    cr_expect(eq(uint, came_back, 2), "three in all");
}

Test(triggers_psi_fds, this_kernels_psi_takes_the_trigger)
{
    options = pressure_defaults;
    if (access("/proc/pressure/memory", W_OK) != 0) {
        fprintf(stderr, "SKIPPED: no /proc/pressure/memory to arm\n");
        cr_skip_test("no /proc/pressure/memory");
    }
    cr_expect(eq(uint, psi_arm(&source, &options, &nowhere, 1), 1));
    cr_expect(eq(int, source.accel[PSI_TRIGGER].open, 1));
}

Test(triggers_psi_fds, the_cgroups_own_psi_comes_first)
{
    static struct cgroup_found found = {.root = ""};
    struct psi_place here = {0};
    char own[CGROUP_PATH + 128];
    options = pressure_defaults;
    cgroup_find(&found);
    here.v2 = found.v2;
    here.memory = found.memory;
    here.unified = found.unified;
    snprintf(own, sizeof own, "%s/memory.pressure", found.unified.path);
    if (!found.unified.len || access(own, W_OK) != 0) {
        fprintf(stderr, "SKIPPED: no memory.pressure of our own to arm\n");
        cr_skip_test("no memory.pressure");
    }
    cr_expect(ge(uint, psi_arm(&source, &options, &here, 1), 1));
    cr_expect(eq(int, strcmp(source.accel[PSI_TRIGGER].total_path, own), 0));
}
