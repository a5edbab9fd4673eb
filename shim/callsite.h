// callsite - where the caller is, by libunwind.
//
// libunwind is loaded on first use, because Debian's archive cannot be linked in and nothing may
// need it to start. Loading allocates: call it holding no lock, and not from a constructor.
#ifndef TIDEPOOL_SHIM_CALLSITE_H
#define TIDEPOOL_SHIM_CALLSITE_H

// Return addresses of the callers, innermost first; returns how many. 0 where libunwind is missing.
int callsite_capture(void **frame, int frames);

#endif
