// dump - `tidepool dump PID`: has a process that is sampled write its heap profile.
#ifndef TIDEPOOL_SHIM_CLI_DUMP_H
#define TIDEPOOL_SHIM_CLI_DUMP_H

// Prints the profile's path; the arguments behind "dump". An exit code.
int launcher_dump(char **args);

#endif
