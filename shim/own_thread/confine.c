#include "shim/own_thread/confine.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/own_thread/confine_calls.h"

static const struct config *settings;

// Enough for 4096 processors. What lies behind the bytes that the kernel writes is zero.
struct processors {
    unsigned long bits[4096 / 8 / sizeof(long)];
};
static struct processors at_load;

void confine_init(const struct config *config)
{
    settings = config;
    syscall(SYS_sched_getaffinity, 0, sizeof at_load, &at_load);
}

// Where the first thread was at load, and where the one that started us is.
static void use_all_processors(void)
{
    struct processors now = {0};
    bool lacks = false;

    if (syscall(SYS_sched_getaffinity, 0, sizeof now, &now) < 0)
        return;
    for (size_t i = 0; i < array_len(now.bits); i++) {
        lacks |= at_load.bits[i] & ~now.bits[i];
        now.bits[i] |= at_load.bits[i];
    }
    if (lacks)
        syscall(SYS_sched_setaffinity, 0, sizeof now, &now);
}

// A nice value stays, and so does a policy that is no more urgent than the usual one.
static void leave_real_time(void)
{
    static const struct sched_param none = {0};
    long policy = syscall(SYS_sched_getscheduler, 0);

    if (policy == SCHED_FIFO || policy == SCHED_RR)
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &none);
}

// By which root writes into folders of others and takes away what they left (metrics, profiles),
// and pages out files of others.
static uint64_t needed_capabilities(void)
{
    uint64_t needed = 0;

    if (settings->prom_dir || settings->sample_bytes)
        needed |= UINT64_C(1) << CAP_DAC_OVERRIDE;
    if (settings->prom_dir || settings->mfile)
        needed |= UINT64_C(1) << CAP_FOWNER;
    return needed;
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    uint64_t needed = needed_capabilities();

    if (syscall(SYS_capget, &header, data) != 0)
        return;
    for (unsigned i = 0; i < array_len(data); i++) {
        data[i].permitted &= (uint32_t)(needed >> 32 * i);
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    syscall(SYS_capset, &header, data);
}

static void filter_calls(void)
{
    struct sock_filter code[CONFINE_CODE_MAX];
    struct sock_fprog program = {.len = confine_calls(code), .filter = code};

    syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0L, 0L);
}

void confine_self(void)
{
    leave_real_time();
    use_all_processors();
    if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0)
        return;
    if (syscall(SYS_prctl, PR_GET_SECCOMP, 0L, 0L, 0L, 0L) == 0)
        drop_capabilities();
    filter_calls();
}
