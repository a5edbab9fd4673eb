// python - the functions of Python that a thread runs.
//
// CPython 3.11 to 3.13 keeps a chain of frames in each thread's state. A frame leads to a code
// object, which holds the names.
//
// The offsets in a frame are those of the headers of each version (Include/internal/pycore_frame.h,
// Include/cpython/pystate.h). Those in a code object come from the interpreter, which describes its
// members. What the thread's state says is compared with what functions of the C API say. Where
// that does not agree, or no frame could be read at the first samples, a line says so and the
// functions stay without names.
#ifndef TIDEPOOL_SHIM_PROFILE_PYTHON_H
#define TIDEPOOL_SHIM_PROFILE_PYTHON_H

#include <stdbool.h>

struct script;

// Looks for an interpreter, unless one was found.
void python_find(void);

// False where this thread runs no Python.
bool python_read(struct script *s);

#endif
