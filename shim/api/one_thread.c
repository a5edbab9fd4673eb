// one_thread - the functions of libc around which our threads end: see one_thread.h.
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shim/heap.h"
#include "shim/init.h"
#include "shim/own_thread/one_thread.h"

typedef void any_function(void);

static_assert(sizeof(any_function *) == sizeof(void *), "POSIX: a function's address fits");

enum name {
    SETUID,
    SETGID,
    SETEUID,
    SETEGID,
    SETREUID,
    SETREGID,
    SETRESUID,
    SETRESGID,
    SETGROUPS,
    INITGROUPS,
    UNSHARE,
    SETNS,
    CAPSET,
    PRCTL,
    NAMES
};

static const char *const names[NAMES] = {
    [SETUID] = "setuid",       [SETGID] = "setgid",         [SETEUID] = "seteuid",
    [SETEGID] = "setegid",     [SETREUID] = "setreuid",     [SETREGID] = "setregid",
    [SETRESUID] = "setresuid", [SETRESGID] = "setresgid",   [SETGROUPS] = "setgroups",
    [UNSHARE] = "unshare",     [INITGROUPS] = "initgroups", [SETNS] = "setns",
    [CAPSET] = "capset",       [PRCTL] = "prctl",
};

static _Atomic(any_function *) next[NAMES];

// The next definition of a name: libc's, or another preloaded library's.
static any_function *find(enum name n)
{
    any_function *f = atomic_load_explicit(&next[n], memory_order_relaxed);
    void *symbol;

    if (f)
        return f;
    symbol = dlsym(RTLD_NEXT, names[n]);
    __builtin_memcpy(&f, &symbol, sizeof f);
    atomic_store_explicit(&next[n], f, memory_order_relaxed);
    return f;
}

// POSIX lets signal handlers call setuid(), and children in which a lock of ld.so is held for ever
// change their ids. So none of these functions is to be found by dlsym() there.
__attribute__((constructor)) static void find_all(void)
{
    for (enum name n = 0; n < NAMES; n++)
        find(n);
}

// setuid(2) names EAGAIN for what may work later. Going on would end in glibc's abort().
#define SETS_IDS(number, name, params, args)                                                       \
    HEAP_EXPORT int name params                                                                    \
    {                                                                                              \
        __typeof__(&(name)) call = (__typeof__(&(name)))find(number);                              \
        enum one_thread was = one_thread_begin();                                                  \
        int result = -1;                                                                           \
                                                                                                   \
        if (was == ONE_THREAD_STAYS)                                                               \
            errno = EAGAIN;                                                                        \
        else                                                                                       \
            result = call args;                                                                    \
        one_thread_end(was, false);                                                                \
        return result;                                                                             \
    }

// The kernel says what is wrong, if a thread of ours is still there.
#define WANTS_ONE_THREAD(number, name, params, args)                                               \
    HEAP_EXPORT int name params                                                                    \
    {                                                                                              \
        __typeof__(&(name)) call = (__typeof__(&(name)))find(number);                              \
        enum one_thread was = one_thread_begin();                                                  \
        int result = call args;                                                                    \
                                                                                                   \
        one_thread_end(was, false);                                                                \
        return result;                                                                             \
    }

SETS_IDS(SETUID, setuid, (uid_t uid), (uid))
SETS_IDS(SETGID, setgid, (gid_t gid), (gid))
SETS_IDS(SETEUID, seteuid, (uid_t uid), (uid))
SETS_IDS(SETEGID, setegid, (gid_t gid), (gid))
SETS_IDS(SETREUID, setreuid, (uid_t real, uid_t effective), (real, effective))
SETS_IDS(SETREGID, setregid, (gid_t real, gid_t effective), (real, effective))
SETS_IDS(SETRESUID, setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
SETS_IDS(SETRESGID, setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))
SETS_IDS(SETGROUPS, setgroups, (size_t count, const gid_t *groups), (count, groups))
// Reads the groups first, and calls libc's own setgroups.
SETS_IDS(INITGROUPS, initgroups, (const char *user, gid_t group), (user, group))

WANTS_ONE_THREAD(UNSHARE, unshare, (int flags), (flags))
WANTS_ONE_THREAD(SETNS, setns, (int fd, int type), (fd, type))

int capset(cap_user_header_t header, const cap_user_data_t data);
WANTS_ONE_THREAD(CAPSET, capset, (cap_user_header_t header, const cap_user_data_t data),
                 (header, data))

HEAP_EXPORT int prctl(int option, ...)
{
    int (*call)(int, ...) = (int (*)(int, ...))find(PRCTL);
    unsigned long a[4];
    va_list args;

    va_start(args, option);
    for (unsigned i = 0; i < array_len(a); i++)
        a[i] = va_arg(args, unsigned long);
    va_end(args);
    if (!one_thread_prctl(option, a[0]))
        return call(option, a[0], a[1], a[2], a[3]);

    // Afterwards the filter may kill for what setting them up takes.
    if (option == PR_SET_SECCOMP)
        boot_pools();
    enum one_thread was = one_thread_begin();
    int result = call(option, a[0], a[1], a[2], a[3]);
    one_thread_end(was, option == PR_SET_SECCOMP && result >= 0);
    return result;
}
