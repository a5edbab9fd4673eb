// raw_fork - children with a memory of their own that a program makes without fork().
//
// bwrap, lxc and others call clone(2) by its number, or clone() and _Fork() of libc, which run no
// fork handlers. Where the program has one thread that is safe, and stays so, although ours may be
// at work at that moment:
//
//   clone(), _Fork(), syscall()  are interposed. Our thread is kept out of its work meanwhile: no
//                                lock of ours or of jemalloc's is held by it, and nothing is half
//                                done. Only a job that takes longer than 2 s is not waited for.
//   the system call itself       is not seen, but the child is: a page of ours is empty in it
//                                (MADV_WIPEONFORK, Linux 4.14). It finds that out where it would
//                                first wait for a lock, and where the lists of free blocks do not
//                                serve it, and takes all locks for free. What is not made good is
//                                what our thread was changing in that very microsecond.
//
// A program of several threads gets that second part in each case. Its child does not wait for
// locks of threads that it does not have, but may find what they were changing. Handlers of
// pthread_atfork() are not run, ours neither. Children that share memory (vfork, CLONE_VM) are left
// alone.
#ifndef TIDEPOOL_SHIM_OWN_THREAD_RAW_FORK_H
#define TIDEPOOL_SHIM_OWN_THREAD_RAW_FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/base.h"

// Once, with the settings, before any thread or table of ours can be there. `under_way`: has this
// process called fork(), and its handlers are not all done? `settle`: what they do in a child,
// after the pools'.
void raw_fork_set_handlers(bool (*under_way)(void), void (*settle)(void));

// Once, while the library starts.
void raw_fork_init(void);

// Around the call that makes the child, in this order: begin, then one of the others. The second
// takes what the first returned. Any thread, signal handlers too; errno is left alone.
bool raw_fork_begin(void);
void raw_fork_parent(bool held);
void raw_fork_child(void);

// Does clone(2) with these flags make such a child? One that gets thread-local storage of its own
// (CLONE_SETTLS) has none of ours, and is left alone.
bool raw_fork_is_made(uint64_t flags);

// Is a system call of that number, with these first arguments, one that makes such a child, which
// goes on where its parent called?
bool raw_fork_is(long number, long a, long b);

// After a fork() with its handlers: this child is known.
void raw_fork_known(void);

// A byte of that page: RAW_FORK_KNOWN, but in a child before raw_fork_check().
enum { RAW_FORK_UNSEEN, RAW_FORK_UNSETTLED, RAW_FORK_KNOWN };
extern volatile unsigned char *raw_fork_state HIDDEN;
void raw_fork_check(void);

// On slow paths, with no lock held: is this a child that has not called raw_fork_check() yet?
static inline void raw_fork_notice(void)
{
    if (unlikely(*raw_fork_state != RAW_FORK_KNOWN))
        raw_fork_check();
}

#endif
