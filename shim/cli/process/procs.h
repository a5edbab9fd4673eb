// procs - which processes of this machine have the library in them.
//
// Processes are inspected if we may read their maps; those of other users are found if their
// control channel is listed in /proc/net/unix. Whether a process has the library is
// kept for some scans while the process keeps its name, and is then checked again: by then the
// process may run another program.
#ifndef TIDEPOOL_SHIM_CLI_PROCESS_PROCS_H
#define TIDEPOOL_SHIM_CLI_PROCESS_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
    pid_t pid;
    uint64_t start; // clock ticks since boot: with the pid, this is one process and no other
    char comm[32];  // as the kernel has it, any bytes
    bool has_library;
    unsigned age; // scans since it was inspected
    bool seen;    // in this scan
};

struct procs {
    struct proc *list;
    size_t count, room;
};

// Those with the library have has_library. False without /proc.
bool procs_scan(struct procs *procs);

// Did it start less than `seconds` ago? (An exec() does not count.)
bool procs_is_young(pid_t pid, unsigned seconds);

// Is it still the same process?
bool procs_alive(const struct proc *proc);

void procs_free(struct procs *procs);

#endif
