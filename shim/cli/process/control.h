// control - asks a running process through its control channel (export/control.h).
//
// Many can be asked at once: begin them all, then finish all in one call, which reads from those
// that are ready. An answer is text from outside: the code that shows it makes it harmless.
#ifndef TIDEPOOL_SHIM_CLI_PROCESS_CONTROL_H
#define TIDEPOOL_SHIM_CLI_PROCESS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum control_state {
    CONTROL_ASKED,     // begun; or finished, and `text` is the answer
    CONTROL_GONE,      // there is no such process
    CONTROL_DENIED,    // it is another user's
    CONTROL_CLOSED,    // it has no channel
    CONTROL_ELSEWHERE, // it is in a network namespace that we may not enter
    CONTROL_SILENT,    // it did not answer in time, or not to the end
    CONTROL_FAILED,    // it answered "error", and `text` is why
};

struct control_call {
    pid_t pid;
    enum control_state state;
    int fd;
    char *text; // without the first and the last line; the caller frees it
    size_t length, room;
};

// Sends the request, one line without its newline. Sets state.
void launcher_control_begin(struct control_call *call, pid_t pid, const char *request);

// Waits for the answers of all of them, which come one by one or not at all; sets each state.
void launcher_control_finish(struct control_call *calls, size_t count, unsigned timeout_ms);

// What to tell the user of a state that is not CONTROL_ASKED: some words, for CONTROL_FAILED those
// of the process.
const char *launcher_control_why(const struct control_call *call);

// Both, and the line for the user where it fails: 0 and the text, which is to be freed, or an exit
// code.
int launcher_control_ask(pid_t pid, const char *request, unsigned timeout_ms, char **text);

#endif
