// reach - a connection to a process's control channel, wherever the process is.
#ifndef TIDEPOOL_SHIM_CLI_PROCESS_REACH_H
#define TIDEPOOL_SHIM_CLI_PROCESS_REACH_H

#include <sys/types.h>

#include "shim/cli/process/control.h"

// CONTROL_ASKED and a connected socket, or why there is none. Waits 50 ms at most where others are
// waiting already.
enum control_state launcher_reach(pid_t pid, int *fd);

#endif
