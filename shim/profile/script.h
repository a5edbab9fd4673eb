// script - the functions that an interpreter runs, in the stack of the C functions that run them.
//
// An interpreter's frames are read where they lie, inside malloc(), by the thread that runs them.
// It may have given up the interpreter's lock: its own frames do not change meanwhile, and hold
// their code. Nothing is allocated and no lock is taken. Each address is asked for (peek.h), each
// object is looked at for its type before more of it is read. What does not fit ends the walk.
#ifndef TIDEPOOL_SHIM_PROFILE_SCRIPT_H
#define TIDEPOOL_SHIM_PROFILE_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

// Looks for interpreters among the libraries that are loaded; `at_start`: no other thread runs yet.
// Takes the loader's lock.
void script_find(bool at_start);

// Return addresses and names (export/heap/sites.h) of the callers, innermost first, without this
// library's own frames on top; returns how many. The names of functions stand for the C frame that
// runs them. 0: the thread runs no script. Errno is left alone.
unsigned script_capture(uintptr_t *frame, unsigned max);

#endif
