// mmap and its family do what the kernel does: the same results and the same errno as the raw
// system calls, errno left alone on success; from a handler that interrupts other mapping calls,
// and forks in the middle of them; and before any constructor of the program has run.

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "victim.h"

enum { PAGE = 4096 };

static int fd = -1;
static void *early;

__attribute__((constructor(101))) static void map_early(void)
{
    fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    early = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
}

static void *room(void)
{
    return mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void same_mmap(void *addr, size_t length, int prot, int flags, int file, off_t offset)
{
    errno = 1234;
    void *raw = (void *)syscall(SYS_mmap, addr, length, prot, flags, file, offset);
    int raw_errno = errno;
    errno = 1234;
    void *ours = mmap(addr, length, prot, flags, file, offset);
    CHECK(errno == raw_errno, "errno %d, raw %d", errno, raw_errno);
    CHECK((ours == MAP_FAILED) == (raw == MAP_FAILED), "flags %x", flags);
    errno = 1234;
    ours = ours == MAP_FAILED ? ours : mmap64(ours, length, prot, flags | MAP_FIXED, file, offset);
    CHECK(errno == 1234, "errno %d of mmap64", errno);
}

static void same_results(void)
{
    char *r = room();

    same_mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0);
    same_mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0);
    same_mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 9999, 0);
    same_mmap(NULL, PAGE, PROT_READ, 0, fd, 0);
    same_mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 1);
    same_mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0); // opened for reading
    same_mmap(r + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
    same_mmap(r, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, 9999, 0);
    same_mmap(r, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
    same_mmap(r, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
    same_mmap(NULL, SIZE_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    same_mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    same_mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, fd, 0);

    errno = 1234;
    CHECK(munmap(r + 1, PAGE) == -1 && errno == EINVAL, "munmap unaligned");
    CHECK(munmap(r, 0) == -1 && errno == EINVAL, "munmap of nothing");
    CHECK(munmap(r, SIZE_MAX) == -1 && errno == EINVAL, "munmap of everything");
    errno = 1234;
    CHECK(munmap(r, PAGE) == 0 && munmap(r, PAGE) == 0 && errno == 1234, "munmap twice");

    r = room();
    r[PAGE] = 'm';
    CHECK(mremap(r + 1, PAGE, PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL, "unaligned");
    CHECK(mremap(r, PAGE, PAGE, 77) == MAP_FAILED && errno == EINVAL, "flags");
    CHECK(mremap(NULL, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT,
          "no mapping");
    errno = 1234;
    char *to = room();
    CHECK(mremap(r, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "onto");
    CHECK(to[PAGE] == 'm' && errno == 1234, "moved");
    CHECK(mremap(to, 16 * PAGE, PAGE, 0) == to, "shrunk");

    CHECK(madvise(to + 1, PAGE, MADV_NORMAL) == -1 && errno == EINVAL, "madvise");
    CHECK(madvise(to, PAGE, 9999) == -1 && errno == EINVAL, "madvise");
    CHECK(madvise(r, PAGE, MADV_NORMAL) == -1 && errno == ENOMEM, "madvise on a hole");
    errno = 1234;
    to[0] = 'k';
    CHECK(posix_madvise(to, PAGE, POSIX_MADV_DONTNEED) == 0 && to[0] == 'k', "POSIX keeps data");
    CHECK(posix_madvise(to + 1, PAGE, POSIX_MADV_NORMAL) == EINVAL && errno == 1234,
          "posix_madvise");
    CHECK(posix_madvise(to, PAGE, POSIX_MADV_WILLNEED) <= EBADF && errno == 1234, "posix_madvise");
    CHECK(madvise(to, PAGE, MADV_DONTNEED) == 0 && to[0] == 0, "Linux does not");
}

enum { FORKS = 40 };

static volatile sig_atomic_t handled, forks, in_child;

// fork() in a handler: the child goes on in the middle of the call that was interrupted.
static void fork_now_and_then(void)
{
    if (in_child || handled % 16 || forks == FORKS)
        return;
    forks++;
    in_child = fork() == 0;
}

static void on_signal(int number)
{
    char *at = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);

    (void)number;
    if (at != MAP_FAILED && at[1] == 'E') {
        munmap(at + PAGE, PAGE);
        munmap(at, PAGE);
        handled++;
        fork_now_and_then();
    }
}

static void *map_on(void *turns)
{
    for (long i = 0; i < (long)turns; i++) {
        char *at = mmap(NULL, 4 * PAGE, PROT_READ, i & 1 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        CHECK(at != MAP_FAILED && at[1] == 'E', "mapped");
        at = mremap(at, 4 * PAGE, 2 * PAGE, 0);
        munmap(at, 2 * PAGE);
        if (in_child && ++in_child == 500)
            _exit(0);
    }
    return NULL;
}

static void interrupted(void)
{
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    pthread_t other;

    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_create(&other, NULL, map_on, (void *)20000);
    map_on((void *)20000);
    pthread_join(other, NULL);
    while (!forks)
        map_on((void *)1000);
    setitimer(ITIMER_REAL, &never, NULL);
    for (int status; forks; forks--)
        CHECK(wait(&status) > 0 && status == 0, "a child ended with %d", status);
}

int main(void)
{
    CHECK(early != MAP_FAILED && memcmp(early, "\177ELF", 4) == 0, "before the constructors");
    same_results();
    interrupted();
    return 0;
}
