#include "shim/misuse.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base.h"
#include "shim/boot.h"
#include "shim/callsite.h"
#include "shim/log.h"

#define FRAMES 16

// Unwinding may itself allocate and free; a program broken enough to go wrong there, too, gets no
// second report.
static _Thread_local bool reporting;

// module+offset is what addr2line wants, whatever the process's address layout.
static void report_backtrace(void)
{
    void *frame[FRAMES];
    int frames = callsite_capture(frame, FRAMES);
    char text[LOG_LINE_MAX];
    size_t length = 0;
    Dl_info self, info;

    if (!dladdr((void *)&report_backtrace, &self))
        return;
    for (int i = 0; i < frames && length < sizeof text - 96; i++) {
        if (!dladdr(frame[i], &info) || info.dli_fbase == self.dli_fbase)
            continue;
        const char *slash = strrchr(info.dli_fname, '/');
        length += log_format(text + length, sizeof text - length, "%s%s+0x%lx", length ? " " : "",
                             slash ? slash + 1 : info.dli_fname,
                             (unsigned long)((char *)frame[i] - (char *)info.dli_fbase));
    }
    if (length)
        log_line(LOG_MISUSE, "backtrace: %s", text);
}

void misuse_report(const char *what, const void *ptr)
{
    if (boot_config.check == CONFIG_CHECK_OFF)
        return;
    log_line(LOG_MISUSE, "%s of %p%s", what, ptr,
             boot_config.check == CONFIG_CHECK_WARN ? ", ignored" : "");
    if (!reporting) {
        reporting = true;
        report_backtrace();
        reporting = false;
    }
    if (boot_config.check == CONFIG_CHECK_ABORT)
        abort();
}
