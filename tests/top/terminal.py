"""A terminal of some size with a program in it: just enough of one to know what a user sees."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

ENTER, LEAVE = b"\033[?1049h", b"\033[?1049l"
FRAME = b"\033[1;1H"
SEQUENCE = re.compile(r"\033\[(\??[0-9;]*)([A-Za-z])")


class Terminal:
    def __init__(self, command, columns=80, rows=24, env=None, user=None):
        self.main, side = pty.openpty()
        self.resize(columns, rows, None)
        self.mode = termios.tcgetattr(side)
        self.side = side
        self.raw = b""
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            fcntl.ioctl(side, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(side, fd)
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            os.execvpe(command[0], command, {"TERM": "xterm", "PATH": os.environ["PATH"], **(env or {})})
        self.status = None

    def resize(self, columns, rows, tell=True):
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.columns, self.rows = columns, rows
        if tell:
            os.kill(self.pid, signal.SIGWINCH)

    def read(self, seconds=0.3):
        """What comes, until nothing has come for so long, or something for four times as long."""
        until = time.monotonic() + 4 * seconds
        while time.monotonic() < until and select.select([self.main], [], [], seconds)[0]:
            try:
                piece = os.read(self.main, 65536)
            except OSError:
                break
            if not piece:
                break
            self.raw += piece
        return self.raw

    def wait_for(self, condition, what, seconds=20):
        until = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < until, f"{what}: the screen is {self.screen()}"
            self.read(0.1)

    def screen(self):
        """The lines as they are after all that was read; refuses what is not understood."""
        lines = {}
        row = column = 1
        text = self.raw.decode("ascii")
        at = 0
        while at < len(text):
            m = SEQUENCE.match(text, at)
            if m:
                at = m.end()
                arg, kind = m.groups()
                if kind == "H":
                    row, column = (int(x) for x in arg.split(";"))
                elif kind == "J":
                    lines = {}
                elif kind == "K":
                    lines[row] = lines.get(row, "")[:column - 1]
                elif kind not in "mhl":
                    raise AssertionError(f"unknown sequence {m.group()!r}")
                continue
            c = text[at]
            at += 1
            assert " " <= c <= "~" or c in "\r\n", f"control character {c!r}"
            if c not in "\r\n":
                line = lines.get(row, "").ljust(column - 1)
                lines[row] = line[:column - 1] + c + line[column:]
                column += 1
        return [lines.get(i, "") for i in range(1, max(lines, default=0) + 1)]

    def frames(self):
        """How many have begun, at the first line."""
        return self.raw.count(FRAME)

    def last_frame(self):
        """Forgets all but the last whole frame."""
        frames = self.raw.split(FRAME)
        self.raw = ENTER + b"\033[?25l" + FRAME + frames[-2]

    def press(self, keys):
        os.write(self.main, keys.encode())

    def end(self, seconds=10):
        """Its wait status."""
        until = time.monotonic() + seconds
        while self.status is None:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            elif time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError("it does not end")
        self.read(0.1)
        return self.status

    def restored(self):
        return termios.tcgetattr(self.side) == self.mode and self.raw.rindex(LEAVE) > self.raw.rindex(ENTER) \
            and b"\033[?25h" in self.raw[self.raw.rindex(ENTER):]

    def close(self):
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        os.close(self.main)
        os.close(self.side)
