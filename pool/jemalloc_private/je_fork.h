// je_fork - what jemalloc's own fork handlers leave out: purges.
//
// A thread that purges an arena has dropped every lock while the kernel takes the pages. What marks
// the arena as being purged is a flag, and what is being purged is on no list. A child that is
// forked then finds the flag set by a thread that it does not have. It could never purge that arena
// again, and what the thread had taken off the lists would be lost to it.
//
// So the build wraps (ld --wrap) the function where jemalloc takes the locks of an arena's purges
// before a fork. It takes them when no purge is under way. No other lock that a purge needs is held
// by then, so this waits for a purge to end, and no longer. A purge that does not end within 10 s
// is given up: then the child may purge, but lacks what that purge had taken.
#ifndef TIDEPOOL_POOL_JE_FORK_H
#define TIDEPOOL_POOL_JE_FORK_H

// jemalloc's fork handlers, as pthread_atfork() gets them. They fit every thread that is in no call
// of jemalloc's.
void je_jemalloc_prefork(void);
void je_jemalloc_postfork_parent(void);
void je_jemalloc_postfork_child(void);

// In a child with one thread whose parent ran no handler: makes every lock of jemalloc's free, and
// forgets the purges of threads that are not there. Anywhere, in a call of jemalloc's too.
void je_fork_forget_threads(void);

// Called before jemalloc waits for a lock that another thread holds, with locks of its own held:
// the place to find out that the other thread is not there. NULL for none. Set it once, early.
extern void (*je_fork_on_wait)(void);

#endif
