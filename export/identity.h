// identity - how the text file and the series name this process.
//
// A pid alone is not a name: it is used again, and it means another process in another pid
// namespace. With the start time, the boot and the namespace it is one process and no other.
#ifndef TIDEPOOL_EXPORT_IDENTITY_H
#define TIDEPOOL_EXPORT_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/out.h"

// The inode of the host's own pid namespace, which the kernel fixes.
#define IDENTITY_INITIAL_PIDNS UINT64_C(4026531836)

struct identity {
    int pid;
    uint64_t start;  // ticks since boot, as in /proc/PID/stat
    uint64_t pidns;  // inode of the namespace
    char boot[40];   // the kernel's boot id, without the newline
    bool sees_peers; // /proc is that of this namespace, so a pid of ours names its /proc/PID
};

// Of the calling process. What /proc does not tell is 0 or empty.
void identity_read(struct identity *out);

// The name of the process's first thread, for whichever thread asks; at most 15 bytes and a NUL.
void identity_comm(char out[16]);

// Is the process that had this pid and start time gone? False in doubt. Only for pids of the own
// namespace, and where `sees_peers`.
bool identity_is_gone(int pid, uint64_t start);

static inline bool identity_in_container(const struct identity *i)
{
    return i->pidns && i->pidns != IDENTITY_INITIAL_PIDNS;
}

// pid="1",comm="x"; in a pid namespace of its own also pidns="4026532201", since two such processes
// may well be equal otherwise; then `labels`, which are already escaped.
void identity_labels(struct out *o, const struct identity *i, const char *comm, const char *labels);

#endif
