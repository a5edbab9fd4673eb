// confine - what a thread of ours gives up before it does anything.
//
//   scheduling    real-time priority, which it inherits from the thread that started it, and the
//                 processors that the program has pinned that one to
//   privileges    it gains none by exec (no_new_privs), and keeps no capability but those by which
//                 a process of root writes files where the settings ask for files
//   system calls  what it has no use for fails with EPERM
//
// So what is left over in a process that has locked itself up can do less than the process.
//
// Under a seccomp filter that was there before, capabilities stay: a service's filter may kill for
// capset(2). What the kernel refuses stays as it is, without a word.
#ifndef TIDEPOOL_SHIM_OWN_THREAD_CONFINE_H
#define TIDEPOOL_SHIM_OWN_THREAD_CONFINE_H

#include "shim/config/config.h"

// Once, with the settings, before a thread of ours can start: remembers which processors the
// process may use. The settings must stay valid.
void confine_init(const struct config *config);

// On a thread of ours, once. Descriptors that need privileges are opened before.
void confine_self(void);

#endif
