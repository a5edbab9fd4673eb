// syscall - system calls that a program makes by number, where the library has to know of them.
//
// What the table does not name goes on to the next definition by a jump, as if this one were not
// there: all arguments stay where they are, and nothing of ours is on the stack of a child that
// shares it. Our own calls do not come this way: see raw.c.
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "shim/heap.h"
#include "shim/init.h"
#include "shim/own_thread/one_thread.h"
#include "shim/own_thread/raw_fork.h"

enum duty {
    PLAIN,
    FORKS,      // see raw_fork.h
    ONE_THREAD, // see one_thread.h, as the next two
    SECCOMP,
    PRCTL,
};

#define NUMBERS 512
HIDDEN extern const unsigned char syscall_duty[NUMBERS];
const unsigned char syscall_duty[NUMBERS] = {
    [SYS_clone] = FORKS,
    [SYS_clone3] = FORKS,
#ifdef SYS_fork
    [SYS_fork] = FORKS,
#endif
    [SYS_setuid] = ONE_THREAD,
    [SYS_setgid] = ONE_THREAD,
    [SYS_setreuid] = ONE_THREAD,
    [SYS_setregid] = ONE_THREAD,
    [SYS_setresuid] = ONE_THREAD,
    [SYS_setresgid] = ONE_THREAD,
    [SYS_setgroups] = ONE_THREAD,
    [SYS_capset] = ONE_THREAD,
    [SYS_unshare] = ONE_THREAD,
    [SYS_setns] = ONE_THREAD,
    [SYS_landlock_restrict_self] = ONE_THREAD,
    [SYS_seccomp] = SECCOMP,
    [SYS_prctl] = PRCTL,
};

typedef long system_call(long number, long a, long b, long c, long d, long e, long f);

// libc's syscall() within this library.
system_call raw_by_number __asm__("__wrap_syscall");

// Until the constructor has found the next definition: dlsym() cannot be called everywhere.
HIDDEN extern _Atomic(system_call *) syscall_next;
_Atomic(system_call *) syscall_next = raw_by_number;

__attribute__((constructor)) static void find_next(void)
{
    void *symbol = dlsym(RTLD_NEXT, "syscall");
    system_call *found;

    __builtin_memcpy(&found, &symbol, sizeof found);
    if (found)
        atomic_store_explicit(&syscall_next, found, memory_order_relaxed);
}

// From the entry below, with its arguments. Is there something to do around this call?
HIDDEN bool syscall_is_known(long number, long a, long b);
bool syscall_is_known(long number, long a, long b)
{
    switch ((enum duty)syscall_duty[number]) {
    case PLAIN:
        return false;
    case FORKS:
        return raw_fork_is(number, a, b);
    case ONE_THREAD:
        return true;
    case SECCOMP:
        // What else it is asked for changes nothing.
        return a == SECCOMP_SET_MODE_STRICT || a == SECCOMP_SET_MODE_FILTER;
    case PRCTL:
        return one_thread_prctl((int)a, (unsigned long)b);
    }
    return false;
}

static bool sandboxes(long number, long a)
{
    return number == SYS_seccomp || (number == SYS_prctl && a == PR_SET_SECCOMP);
}

// None of those calls takes more than five arguments.
HIDDEN long syscall_known(long number, long a, long b, long c, long d, long e);
long syscall_known(long number, long a, long b, long c, long d, long e)
{
    system_call *call = atomic_load_explicit(&syscall_next, memory_order_relaxed);

    if (syscall_duty[number] == FORKS) {
        bool held = raw_fork_begin();
        long result = call(number, a, b, c, d, e, 0);
        if (result == 0)
            raw_fork_child();
        else
            raw_fork_parent(held);
        return result;
    }
    // Afterwards the filter may kill for what setting them up takes.
    if (sandboxes(number, a))
        boot_pools();
    enum one_thread was = one_thread_begin();
    long result = call(number, a, b, c, d, e, 0);
    one_thread_end(was, sandboxes(number, a) && result >= 0);
    return result;
}

#if defined(__x86_64__)
// A function in C may write to where a seventh argument would be. Where the caller has given fewer,
// that is a variable of its own, which another thread may be writing to. And a child that gets a
// stack of its own returns on that one: then there must be a jump and no call.
#define SAVE                                                                                       \
    "pushq %rdi\n pushq %rsi\n pushq %rdx\n pushq %rcx\n pushq %r8\n pushq %r9\n subq $8, %rsp\n"
#define RESTORE                                                                                    \
    "addq $8, %rsp\n popq %r9\n popq %r8\n popq %rcx\n popq %rdx\n popq %rsi\n popq %rdi\n"
__asm__(".pushsection .text\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n"
        ".cfi_startproc\n"
        "cmpq $" BASE_STR(NUMBERS) ", %rdi\n"
                                   "jae 1f\n"
                                   "leaq syscall_duty(%rip), %rax\n"
                                   "cmpb $0, (%rax,%rdi)\n"
                                   "je 1f\n" SAVE ".cfi_adjust_cfa_offset 56\n"
                                   "call syscall_is_known\n" RESTORE ".cfi_adjust_cfa_offset -56\n"
                                   "testb %al, %al\n"
                                   "jne syscall_known\n"
                                   "1: jmp *syscall_next(%rip)\n"
                                   ".cfi_endproc\n"
                                   ".size syscall, . - syscall\n"
                                   ".popsection\n");
#else
// Under libc's name, whose declaration says nothing of the arguments.
system_call by_number __asm__("syscall");

HEAP_EXPORT long by_number(long number, long a, long b, long c, long d, long e, long f)
{
    if ((unsigned long)number < NUMBERS && syscall_is_known(number, a, b))
        return syscall_known(number, a, b, c, d, e);
    return atomic_load_explicit(&syscall_next, memory_order_relaxed)(number, a, b, c, d, e, f);
}
#endif
