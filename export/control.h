// control - how tools reach this process while it runs: a socket, and no signal, file or port.
//
// An abstract AF_UNIX stream socket, served by the watchdog's thread alone, so a process too small
// for that thread has none. Its name is CONTROL_PREFIX, the inode of the pid namespace, the pid in
// that namespace, and a random number, with slashes between them. So two containers that share a
// network namespace do not collide, and the name cannot be taken first. /proc/PID/net/unix lists
// it. The descriptor is high, closed on exec, recognized by its inode, and opened anew where the
// program has closed it.
//
// Clients of the process's own effective user and of root are served. A client sends one short
// line, COMMAND or COMMAND ARGUMENT. The answer is "ok" or "error WHY" on a line, what the command
// prints, and CONTROL_END on a line. Without that last line it was cut short. The server never
// waits: a request is read as it comes, and a client that takes too long, or does not read the
// answer, is dropped.
#ifndef TIDEPOOL_EXPORT_CONTROL_H
#define TIDEPOOL_EXPORT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_PREFIX "tidepool/"
#define CONTROL_END "# EOF"

enum {
    CONTROL_COMMANDS_MAX = 8,
    CONTROL_REQUEST_MAX = 200, // bytes of a request, its newline included
};

struct pollfd;

// Answers one request: control_ok and then the text, or control_error. `argument` is printable
// ASCII, "" where there was none. Runs on the watchdog's thread, holding nothing; no evaluation is
// taken by that thread meanwhile.
typedef void (*control_fn)(int fd, const char *argument);

// Before the thread is started. `name` stays the caller's. 0, or -ENOSPC. "version" is there
// already.
int control_register(const char *name, control_fn fn);

// False once the client is gone or has not read for too long; what follows is then not sent.
bool control_send(int fd, const void *bytes, size_t size);
bool control_ok(int fd);
void control_error(int fd, const char *why); // one line, without a newline

// These from the watchdog's thread only.

// Every second or so: opens the socket where there is none. 0, or -errno of a first failure.
int control_tick(uint64_t now_ms);

// What to wait on: at most PRESSURE_WAIT_FDS (pressure/evaluate.h).
unsigned control_wait_on(struct pollfd *fds, uint64_t now_ms);

// One of them has something. Never waits for a client, but for one that reads its answer slowly,
// 50 ms at most.
void control_serve(uint64_t now_ms);

// In the child of a fork: closes the parent's. It opens its own once it has the thread.
void control_child(void);

#endif
