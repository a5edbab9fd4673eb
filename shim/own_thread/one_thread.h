// one_thread - the library's own threads end around some calls. Those are calls that only a program
// of one thread may make, or that change what a thread may do.
//
// Three kinds of call:
//
//   set*id and setgroups  glibc repeats them in every thread, and aborts where the results differ
//   unshare, setns        EINVAL in a process of several threads
//   capset, seccomp,      change the calling thread alone: ours would keep what the program has
//   landlock, prctl       given up
//
// The threads come back with the next growth, made by a thread of the program, and so with what
// that one may do. After seccomp none comes back, and growing threads do not evaluate either: the
// filter may kill for opening a file. What is left is jemalloc's own decay.
#ifndef TIDEPOOL_SHIM_OWN_THREAD_ONE_THREAD_H
#define TIDEPOOL_SHIM_OWN_THREAD_ONE_THREAD_H

#include <stdbool.h>

enum one_thread {
    ONE_THREAD_NOT_OURS, // the memory is another process's, or the caller is our thread: no end
    ONE_THREAD_GONE,
    ONE_THREAD_STAYS, // a thread of ours is still there after 10 s
};

// From any thread. Leaves errno alone. Each call is followed by one of one_thread_end(), from the
// same thread, with what this has returned.
enum one_thread one_thread_begin(void);

// `sandboxed`: seccomp is in force now, so nothing is started any more. Makes no system call.
void one_thread_end(enum one_thread was, bool sandboxed);

// Is this option of prctl(2) one of the third kind?
bool one_thread_prctl(int option, unsigned long argument);

#endif
