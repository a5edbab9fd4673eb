// ruby - the methods of Ruby that a thread runs.
//
// Ruby 3.1 keeps the frames of a thread, or of a fiber, in an array, which its execution context
// leads to. A frame leads to its instructions, and these to file and label. The offsets are those
// of the header that the interpreter compiles with (rb_mjit_min_header-3.1.2.h). Others are left
// alone, without a word: their profiles are as before.
//
// The frames do not tell which C function runs them: all names stand where the innermost does.
#ifndef TIDEPOOL_SHIM_PROFILE_RUBY_H
#define TIDEPOOL_SHIM_PROFILE_RUBY_H

#include <stdbool.h>

struct script;

// Looks for an interpreter among the libraries that the program started with.
void ruby_find(void);

// False where this thread runs no Ruby.
bool ruby_read(struct script *s);

#endif
