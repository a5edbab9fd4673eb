// psi - descriptors that ask for an evaluation at once: accelerators, which decide nothing.
//
//   PSI trigger     some 150 ms of stall in 2 s, of our cgroup, else of the machine. 2 s is the
//                   window that unprivileged processes may ask for. The first event after arming
//                   is often false, so `total=` has to have moved too.
//   systemd         whatever $MEMORY_PRESSURE_WATCH names: a PSI file, a FIFO or a socket
//   memory.events   v2: the counters of high, max and oom changed
//
// Programs close descriptors that they did not open, and their numbers come back as something else.
// So ours live at 512 and above, and each remembers which file it is. Before each poll, read and
// close that is checked. A lost one is opened again a few times, then given up. For the thread
// only; psi_close() also in the child of a fork.
#ifndef TIDEPOOL_PRESSURE_TRIGGERS_PSI_H
#define TIDEPOOL_PRESSURE_TRIGGERS_PSI_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pressure/policy/policy.h"
#include "pressure/usage/cgroup_find.h"

enum psi_kind { PSI_SYSTEMD, PSI_TRIGGER, PSI_EVENTS, PSI_KINDS };

#define PSI_LOWEST_FD 512

struct psi_accel {
    bool open;
    bool is_psi; // a PSI file: never read, and confirmed by total=
    bool drain;  // has bytes to be thrown away
    int fd;
    short events;
    dev_t dev;
    ino_t ino;
    uint64_t count; // total= or the sum of the events, when last read
    unsigned lost;
    int error; // why it is not open: an errno; ENOENT: there is none here
    uint64_t retry_ms;
    char total_path[CGROUP_PATH + 64]; // of is_psi: where total= is read
};

struct psi_source {
    struct psi_accel accel[PSI_KINDS];
};

// What the triggers hang on, as of an evaluation. A copy: no evaluation shall wait for the kernel
// to open them.
struct psi_place {
    bool v2;                           // of `memory`
    struct cgroup_dir memory, unified; // as in struct cgroup_found; either may be none
};

// Is there anything to open?
bool psi_wants(const struct psi_source *source, uint64_t now_ms);

// Opens what is missing and due. Returns how many are open.
unsigned psi_arm(struct psi_source *source, const struct pressure_options *options,
                 struct psi_place *place, uint64_t now_ms);

extern const char *const psi_names[PSI_KINDS];

// Does the environment name a file to listen to? /dev/null is none: it says not to go by pressure
// stalls. Limits are still limits.
bool psi_is_named(const struct pressure_options *options);

// The open ones that are still ours, for ppoll; `which` tells psi_event what each was.
unsigned psi_fill(struct psi_source *source, struct pollfd fds[PSI_KINDS],
                  enum psi_kind which[PSI_KINDS], uint64_t now_ms);

// What ppoll said of one; true if it is worth an evaluation.
bool psi_event(struct psi_source *source, enum psi_kind which, short revents, uint64_t now_ms);

// Closes all that are ours: in a child after fork, and when the thread ends.
void psi_close(struct psi_source *source);

// Base64 as systemd writes it. Length or -EINVAL, also if it does not fit.
int psi_decode(const char *text, unsigned char *out, size_t size);

// The `total=` of the "some" line.
bool psi_parse_total(const char *text, uint64_t *out);

// For arm.c, which opens what psi.c listens to. 0 or -errno.
int psi_arm_one(enum psi_kind kind, struct psi_accel *accel, const struct pressure_options *options,
                struct psi_place *place);
uint64_t psi_read_total(const char *path);
uint64_t psi_read_events(int fd); // high + max + oom

#endif
