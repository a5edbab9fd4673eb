// first_thread - a process whose first thread leaves ends when its other threads have.
//
// libc ends the process with its last thread, and ours would be that for ever. Such a process is
// deaf to every signal but SIGKILL, and has no descriptor of the program's to flush a buffer to. So
// our threads end when the first one does: by pthread_exit(), by being cancelled, or in a child
// that a later thread forked, by returning from its own function. Growing threads go on evaluating;
// idle memory is no longer given back.
#ifndef TIDEPOOL_SHIM_OWN_THREAD_FIRST_THREAD_H
#define TIDEPOOL_SHIM_OWN_THREAD_FIRST_THREAD_H

// From the process's first thread: at load, and in the child of a fork.
void first_thread_watch(void);

#endif
