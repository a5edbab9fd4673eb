#include "shim/own_thread/confine_calls.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#endif

// By how often they are made: the kernel reads the list from its start, where it has no cache.
static const uint16_t free_calls[] = {
    // Sleep, time, locks.
    SYS_futex,
    SYS_ppoll,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_sched_yield,
    SYS_restart_syscall,
    SYS_pselect6,
    SYS_getrandom,
    // Files.
    SYS_openat,
    SYS_read,
    SYS_pread64,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_write,
    SYS_lseek,
    SYS_readv,
    SYS_writev,
    SYS_pwrite64,
    SYS_fcntl,
    SYS_ioctl,
    SYS_dup,
    SYS_dup3,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_fchmod,
    SYS_ftruncate,
    SYS_fsync,
    SYS_fdatasync,
    SYS_renameat,
    SYS_renameat2,
    SYS_unlinkat,
    SYS_utimensat,
    SYS_readahead,
    SYS_fadvise64,
    SYS_flock,
    SYS_close_range,
    SYS_pipe2,
    SYS_signalfd4,
    // Memory.
    SYS_madvise,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_mincore,
    SYS_msync,
    SYS_brk,
    SYS_membarrier,
    // The process and the thread, and what glibc repeats in it.
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getresuid,
    SYS_getresgid,
    SYS_sysinfo,
    SYS_uname,
    SYS_getrusage,
    SYS_getcpu,
    SYS_sched_getaffinity,
    SYS_sched_getscheduler,
    SYS_capget,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_exit,
    SYS_exit_group,
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setgroups,
    // The control socket, and systemd's for memory pressure.
    SYS_accept4,
    SYS_bind,
    SYS_listen,
    SYS_connect,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_shutdown,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_getsockname,
    SYS_getpeername,
    // fakeroot, whose stat() asks its daemon.
    SYS_msgget,
    SYS_msgsnd,
    SYS_msgrcv,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
#ifdef SYS_rseq
    SYS_rseq,
#endif
#ifdef SYS_futex_waitv
    SYS_futex_waitv,
#endif
#ifdef __x86_64__
    // That aarch64 does not have.
    SYS_poll,
    SYS_select,
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_rename,
    SYS_unlink,
    SYS_chmod,
    SYS_dup2,
    SYS_pipe,
    SYS_time,
    SYS_arch_prctl,
    SYS_getrlimit,
#endif
};

// Allowed if this argument, an int, has that value.
struct checked {
    uint16_t call, argument;
    uint32_t value;
};

enum { PER_FREE = 2, PER_CHECKED = 5, AROUND = 6, CHECKED = 9 };
static_assert(array_len(free_calls) * PER_FREE + CHECKED * PER_CHECKED + AROUND <= CONFINE_CODE_MAX,
              "fits");

#define LOAD(field)                                                                                \
    (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip)                                                                        \
    (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define RETURN(what) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (what))
#define LOW_HALF (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0)

static struct sock_filter *allow_checked(struct sock_filter *at, struct checked c)
{
    *at++ = UNLESS(c.call, PER_CHECKED - 1);
    *at++ = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8u * c.argument + LOW_HALF);
    *at++ = UNLESS(c.value, 1);
    *at++ = RETURN(SECCOMP_RET_ALLOW);
    *at++ = LOAD(nr);
    return at;
}

unsigned short confine_calls(struct sock_filter code[CONFINE_CODE_MAX])
{
    const uint32_t self = (uint32_t)getpid();
    const struct checked checked[CHECKED] = {
        {SYS_socket, 0, AF_UNIX},
        {SYS_prctl, 0, PR_SET_NAME},
        {SYS_prctl, 0, PR_SET_VMA},
        {SYS_prctl, 0, PR_GET_SECCOMP},
        {SYS_process_vm_readv, 0, self},
        {SYS_tgkill, 0, self},
        {SYS_prlimit64, 0, 0},
        {SYS_prlimit64, 0, self},
        // Does the process live that has left a file?
        {SYS_kill, 1, 0},
    };
    struct sock_filter *at = code;

    // Numbers of another machine (32 bits) mean other calls.
    *at++ = LOAD(arch);
    *at++ = UNLESS(MACHINE, 1);
    *at++ = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 1);
    *at++ = RETURN(SECCOMP_RET_ERRNO | EPERM);
    *at++ = LOAD(nr);
    for (unsigned i = 0; i < array_len(free_calls); i++) {
        *at++ = UNLESS(free_calls[i], 1);
        *at++ = RETURN(SECCOMP_RET_ALLOW);
    }
    for (unsigned i = 0; i < array_len(checked); i++)
        at = allow_checked(at, checked[i]);
    *at++ = RETURN(SECCOMP_RET_ERRNO | EPERM);
    return (unsigned short)(at - code);
}
