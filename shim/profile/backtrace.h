// backtrace - where the caller is: its stack of return addresses.
//
// The walker is the C compiler's own, which the library is linked with. It finds unwind tables
// through glibc's _dl_find_object(). It takes no lock, allocates nothing and keeps no cache and no
// descriptor. So it may walk inside malloc(), in constructors, under dlopen(), in the child of a
// fork and in signal handlers. It costs some 160 ns a frame. Where code has no tables, as code
// compiled at run time, it goes on by frame pointers (frame_chain.h), and does not come back to
// tables.
//
// The other two are opt-in. Frame pointers are for programs in which all code keeps them, with
// tables or without. libunwind remembers each thread's frames and takes 10 ns for one that it has
// seen. It is opt-in because of its cost: 256 KiB in each thread that samples, two low descriptors,
// and frames remembered of libraries that were unloaded. It also calls dl_iterate_phdr() inside
// malloc(), which waits for a program's own callback while that may wait for the program.
#ifndef TIDEPOOL_SHIM_PROFILE_BACKTRACE_H
#define TIDEPOOL_SHIM_PROFILE_BACKTRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/config/config.h"

// Which walker to use; before the first walk. libunwind is not loaded yet, and until it is the
// built-in walker goes in its place.
void callsite_init(enum config_unwind walker);

// Loads libunwind, if it was asked for, and tries it: once. It allocates and takes the loader's
// lock: only from a thread that holds nothing. False when it is missing.
bool callsite_load(void);

// Return addresses of the callers, innermost first, without this library's own frames on top;
// returns how many. One less is in the call; where a signal interrupted an instruction, it is in
// that (but for libunwind). Errno is left alone.
unsigned callsite_capture(uintptr_t *frame, unsigned max);

// Is that in this library?
bool callsite_is_ours(uintptr_t pc);

// Such an address, of the frame that _Unwind_Backtrace() is at; 0 at the stack's end.
struct _Unwind_Context;
uintptr_t callsite_pc(struct _Unwind_Context *at);

// Around fork. A child's walks are the built-in walker's: libunwind takes a lock of the loader's,
// which glibc leaves to the child as it was when another thread held it.
void callsite_prefork(void);
void callsite_parent(void);
void callsite_child(void);

#endif
