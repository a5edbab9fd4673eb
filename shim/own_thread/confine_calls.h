// confine_calls - the system calls that our threads make, as a program for seccomp.
//
// All others fail with EPERM: a libc that makes new ones, or another preloaded library that calls
// from our thread, is refused and not killed.
#ifndef TIDEPOOL_SHIM_OWN_THREAD_CONFINE_CALLS_H
#define TIDEPOOL_SHIM_OWN_THREAD_CONFINE_CALLS_H

#include <linux/filter.h>

#define CONFINE_CODE_MAX 512

// Writes the program for the calling process; returns its length.
unsigned short confine_calls(struct sock_filter code[CONFINE_CODE_MAX]);

#endif
