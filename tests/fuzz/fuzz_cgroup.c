// The lines of /proc/self/cgroup and of mountinfo, one at a time.

#include <stdint.h>
#include <string.h>

#include "pressure/usage/cgroup_find.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[TEXT_LINE], again[TEXT_LINE];
    struct cgroup_line cgroup;
    struct cgroup_mount mount;
    if (size >= sizeof line)
        size = sizeof line - 1;
    memcpy(line, data, size);
    line[size] = '\0';
    memcpy(again, line, sizeof again);
    if (cgroup_parse_line(line, &cgroup) && cgroup.path[0] != '/')
        __builtin_trap();
    if (cgroup_parse_mount(again, &mount) && strlen(mount.root) + strlen(mount.point) > size)
        __builtin_trap();
    return 0;
}
