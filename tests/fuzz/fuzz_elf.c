// A file that says it is ELF.

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/cli/symbols/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct elf e;
    uint64_t address;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        __builtin_trap();
    if (elf_open(&e, path) == 0) {
        for (uint64_t at = 0; at < 8192; at += 64) {
            const char *name = elf_function(&e, at);
            if (name && !*name)
                __builtin_trap();
            elf_address(&e, at, &address);
        }
        if (strlen(e.build_id) > 2 * ELF_ID_MAX)
            __builtin_trap();
        elf_close(&e);
    }
    close(fd);
    return 0;
}
