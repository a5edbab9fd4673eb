#include "shim/profile/misuse.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base.h"
#include "shim/base/log.h"
#include "shim/profile/backtrace.h"

#define FRAMES 16

static enum config_check on_misuse;
static _Atomic uint64_t count[MISUSES];

// Unwinding may itself allocate and free; a program broken enough to go wrong there, too, gets no
// second report.
static _Thread_local bool reporting;

// module+offset is what addr2line wants, whatever the process's address layout: where that is
// fixed, the address. A return address is behind its call, where another function may begin.
static void report_stack(const char *what, const uintptr_t *frame, unsigned frames)
{
    char text[LOG_LINE_MAX];
    size_t length = 0;
    struct link_map *module;
    Dl_info info;

    for (unsigned i = 0; i < frames && length < sizeof text - 96; i++) {
        uintptr_t call = frame[i] - 1;
        if (!dladdr1((void *)call, &info, (void **)&module, RTLD_DL_LINKMAP))
            continue;
        const char *slash = strrchr(info.dli_fname, '/');
        length +=
            log_format(text + length, sizeof text - length, "%s%s+0x%lx", length ? " " : "",
                       slash ? slash + 1 : info.dli_fname, (unsigned long)(call - module->l_addr));
    }
    if (length)
        log_line(LOG_MISUSE, "%s: %s", what, text);
}

static void report_stacks(const uintptr_t *allocated, unsigned depth)
{
    uintptr_t frame[FRAMES] = {0};

    report_stack("backtrace", frame, callsite_capture(frame, FRAMES));
    if (depth)
        report_stack("allocated at", allocated, depth < FRAMES ? depth : FRAMES);
}

void misuse_init(enum config_check check)
{
    on_misuse = check;
}

uint64_t misuse_count(enum misuse misuse)
{
    return atomic_load_explicit(&count[misuse], memory_order_relaxed);
}

void misuse_report(enum misuse misuse, const void *ptr, const uintptr_t *allocated, unsigned depth)
{
    atomic_fetch_add_explicit(&count[misuse], 1, memory_order_relaxed);
    if (on_misuse == CONFIG_CHECK_OFF)
        return;
    log_line(LOG_MISUSE, "%s of %p%s",
             misuse == MISUSE_DOUBLE_FREE ? "double free" : "invalid free", ptr,
             on_misuse == CONFIG_CHECK_WARN ? ", ignored" : "");
    if (!reporting) {
        reporting = true;
        report_stacks(allocated, depth);
        reporting = false;
    }
    if (on_misuse == CONFIG_CHECK_ABORT)
        abort();
}
