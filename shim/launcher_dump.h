// launcher_dump - `tidepool dump PID`: has a process that is sampled write its heap profile.
#ifndef TIDEPOOL_SHIM_LAUNCHER_DUMP_H
#define TIDEPOOL_SHIM_LAUNCHER_DUMP_H

// Prints the profile's path; the arguments behind "dump". An exit code.
int launcher_dump(char **args);

#endif
