// raw - libc's system calls and its clock, defined once more for this library and the jemalloc in
// it alone.
//
// Other preloaded libraries define these names, too: to fake the time (libfaketime), the root or
// the network (fakechroot, torsocks, socket_wrapper). What they do there may allocate, wait or
// resolve symbols, and we call from inside malloc(). The linker binds our calls to these hidden
// definitions, so that no such library hears of them; and our intervals stay real where time is
// faked. Nothing here is a point of cancellation. See shim/next.h for calls that are to be heard.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "shim/base/raw.h"

static long enter(long number, long a, long b, long c, long d, long e, long f)
{
#ifdef __x86_64__
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#endif
}

// Six arguments are read, however few were passed: those after the last are whatever the registers
// and the stack hold, and the kernel does not read them. AddressSanitizer would object.
//
// The linker binds our calls of syscall() to this (--wrap): the library also has one for programs.
long __wrap_syscall(long number, ...);
__attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...)
{
    va_list args;
    long a[6];

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    long result = enter(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

static int enter_clock(clockid_t clock, struct timespec *now)
{
    return (int)syscall(SYS_clock_gettime, clock, now);
}

// The kernel's, which takes 70 ns, until libc's is known, which takes 20.
static int (*libc_clock)(clockid_t, struct timespec *) = enter_clock;

void raw_use_clock(void *symbol)
{
    if (symbol)
        __atomic_store_n((void **)&libc_clock, symbol, __ATOMIC_RELAXED);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    return __atomic_load_n(&libc_clock, __ATOMIC_RELAXED)(clock, now);
}

// jemalloc's, inside its first malloc(); without attributes, which is how it calls this.
int pthread_cond_init(pthread_cond_t *restrict cond, const pthread_condattr_t *restrict attr)
{
    (void)attr;
    *cond = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    return 0;
}

ssize_t write(int fd, const void *from, size_t size)
{
    return syscall(SYS_write, fd, from, size);
}

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
    return syscall(SYS_pread64, fd, to, size, offset);
}

ssize_t readlink(const char *restrict path, char *restrict to, size_t size)
{
    return syscall(SYS_readlinkat, AT_FDCWD, path, to, size);
}

int fstat(int fd, struct stat *st)
{
    return (int)syscall(SYS_fstat, fd, st);
}

int stat(const char *restrict path, struct stat *restrict st)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, st, 0);
}

int statfs(const char *path, struct statfs *fs)
{
    return (int)syscall(SYS_statfs, path, fs);
}

// With one argument at most, as we use it.
int fcntl(int fd, int command, ...)
{
    va_list args;

    va_start(args, command);
    long arg = va_arg(args, long);
    va_end(args);
    return (int)syscall(SYS_fcntl, fd, command, arg);
}

int poll(struct pollfd *fds, nfds_t count, int ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};

    return (int)syscall(SYS_ppoll, fds, count, ms < 0 ? NULL : &time, NULL, 0);
}

int socket(int domain, int type, int protocol)
{
    return (int)syscall(SYS_socket, domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return (int)syscall(SYS_bind, fd, address, length);
}

int listen(int fd, int backlog)
{
    return (int)syscall(SYS_listen, fd, backlog);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, length, flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return (int)syscall(SYS_connect, fd, address, length);
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length)
{
    return (int)syscall(SYS_getsockopt, fd, level, name, value, length);
}

int shutdown(int fd, int how)
{
    return (int)syscall(SYS_shutdown, fd, how);
}

ssize_t send(int fd, const void *from, size_t size, int flags)
{
    return syscall(SYS_sendto, fd, from, size, flags, NULL, 0);
}

ssize_t recv(int fd, void *to, size_t size, int flags)
{
    return syscall(SYS_recvfrom, fd, to, size, flags, NULL, NULL);
}
