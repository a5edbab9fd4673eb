// unwind_end - a walk by tables ends at a return address that is in no object of ld.so's.
//
// Where no table covers an address, libgcc reads the bytes there, and compares them with a signal's
// trampoline. But no code returns to the address below a coroutine's first function, or that of a
// thread of some runtime. It may be anything: reading there is the end of the program.
// So for what lies in no object that ld.so knows there is a table after all, which says that
// nothing called it. The linker puts this in the way of libgcc's search (--wrap): see Makefile.
#ifndef TIDEPOOL_SHIM_PROFILE_UNWIND_END_H
#define TIDEPOOL_SHIM_PROFILE_UNWIND_END_H

#include <stdbool.h>

// Was there none for the frame that this thread's walk is at? A walk in a signal handler may change
// it meanwhile.
extern _Thread_local volatile bool unwind_end_no_table;

#endif
