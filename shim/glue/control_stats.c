#include "shim/glue/control_stats.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "export/control.h"
#include "export/metrics.h"
#include "shim/glue/prometheus.h"

// Past our own mmap: this is no mapping of the program's.
static char *map(size_t size)
{
    long at =
        syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == -1 ? NULL : (char *)at; // NOLINT(performance-no-int-to-ptr)
}

static void unmap(char *at, size_t size)
{
    syscall(SYS_munmap, at, size);
}

static void tell(int fd, const char *argument)
{
    struct metrics m;

    (void)argument;
    exporter_metrics();
    char *text = map(METRICS_TEXT_MAX);
    size_t length = text && metrics_read(&m, true) ? metrics_render(&m, text, METRICS_TEXT_MAX) : 0;
    if (!length)
        control_error(fd, "no figures now");
    else if (control_ok(fd))
        control_send(fd, text, length);
    if (text)
        unmap(text, METRICS_TEXT_MAX);
}

void stats_init(void)
{
    control_register("stats", tell);
}
