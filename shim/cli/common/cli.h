// cli - the command `tidepool`: puts the library into a program's environment and starts it.
//
// An ordinary program with stdio; nothing of it is in the library. Its exit codes are env(1)'s.
#ifndef TIDEPOOL_SHIM_CLI_COMMON_CLI_H
#define TIDEPOOL_SHIM_CLI_COMMON_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EXIT_OURS = 125,      // tidepool itself failed
    EXIT_CANNOT = 126,    // the command was found, but cannot be run like this
    EXIT_NOT_FOUND = 127, // it was not found
};

// Prints "tidepool: ..." and a newline on stderr; returns status.
int launcher_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// launcher_fail() for a remark; nothing under -q.
void launcher_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

// Milliseconds of a clock that only goes forward.
uint64_t launcher_now_ms(void);

// Where this program lies, links resolved; false without /proc and without a usable argv[0].
bool launcher_self(char *out, size_t size);

// The library that belongs to this program: beside it (build tree), in the lib folder next to its
// bin folder, or where `make install` put it. False where there is none.
bool launcher_library(char *out, size_t size);

// Adds the library to LD_PRELOAD, behind what is there and only once. 0, or an exit code after
// saying why.
int launcher_preload(void);

// Starts this program as a child with the present LD_PRELOAD, which tells whether the loader took
// the library and whether malloc is its: the loader itself only warns. 0, or an exit code after
// saying why. Where no process can be started, a remark, and 0.
int launcher_verify(void);

// The child of launcher_verify.
int launcher_probe(void);

// Can the preload work in this program? 0, or an exit code after saying why not. meant: what
// is suggested behind "tidepool" where there is no such program; NULL: nothing.
int launcher_inspect(const char *command, const char *meant);

// One line for each thing the library would use here; 0, or 1 where something needed is missing.
int launcher_check(void);
extern const char launcher_check_usage[];

// --pool-max of TIDEPOOL_POOL_MAX.
void launcher_option_name(const char *variable, char *out, size_t size);

void launcher_help(bool all);

#endif
