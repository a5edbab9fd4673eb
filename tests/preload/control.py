"""Asks running programs through their control channel, as their own user, as root, as another; after
they closed every descriptor, forked, or became another program.

    B=$PWD/build/release python3 tests/preload/control.py [WORD]     only cases with that word
"""
import glob
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

# A shell without job control starts what is behind `&` with this signal ignored, and our children
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

B = os.environ["B"]
LIB, ASKED = f"{B}/libtidepool.so", f"{B}/tests/preload/asked"
ROOT = os.geteuid() == 0
USER, OTHER = 54321, 54322
PATIENCE_S = 20
counts = {"passed": 0, "failed": 0, "skipped": 0}
victims = []


def names(pid):
    """The channel's names of a process, oldest first."""
    with open("/proc/net/unix") as f:
        rows = [line.split() for line in f]
    return [r[7][1:] for r in rows if len(r) == 8 and r[3] == "00010000"
            and re.fullmatch(rf"@tidepool/\d+/{pid}/\d+", r[7])]


def wait_for(what, value):
    until = time.monotonic() + PATIENCE_S
    while not (got := value()):
        assert time.monotonic() < until, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.01)
    return got


def name_of(pid):
    return wait_for("a channel", lambda: names(pid))[0]


class Victim:
    def __init__(self, uid=None, stderr=None, **settings):
        env = {"LD_PRELOAD": LIB, "TIDEPOOL_WATCH_MIN": "8M",
               # Near enough that growth looks often, and the thread comes soon.
               "TIDEPOOL_LIMIT": "256M", "PATH": os.environ["PATH"], **settings}
        # Its own descriptor limit would move ours.
        self.process = subprocess.Popen([ASKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
                                        stderr=stderr, text=True, bufsize=1, user=uid)
        victims.append(self.process)
        self.pid = int(self.process.stdout.readline())

    def tell(self, word):
        """The pid of whoever answers: a child, after fork."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"died of {word}"
        return int(line)


def dial(name):
    # A time-out of Python's makes connect fail at once where others are waiting.
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    for side in socket.SO_SNDTIMEO, socket.SO_RCVTIMEO:
        s.setsockopt(socket.SOL_SOCKET, side, struct.pack("ll", PATIENCE_S, 0))
    s.connect("\0" + name)
    return s


def ask(name, request=b"version\n"):
    with dial(name) as s:
        answer = b""
        try:
            s.sendall(request)
        except BrokenPipeError:
            pass
        try:
            while piece := s.recv(65536):
                answer += piece
        except ConnectionResetError:  # refused without reading what we sent
            pass
    return answer.decode()


def ask_as(uid, name):
    """The same from a process of that user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(writer, ask(name).encode())
        except OSError as e:
            os.write(writer, f"exception {e}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as f:
        answer = f.read()
    os.waitpid(pid, 0)
    return answer


def good(answer):
    assert re.fullmatch(r"ok\ntidepool [0-9.]+\n# EOF\n", answer), f"answered {answer!r}"


def answers(victim):
    good(ask(name_of(victim.pid)))


def fds_of(pid):
    return {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


def sockets_of(pid):
    """Of all its threads: the watchdog's has descriptors of its own where the kernel can do that."""
    return {os.readlink(fd) for fd in glob.glob(f"/proc/{pid}/task/*/fd/*")
            if os.path.lexists(fd) and os.readlink(fd).startswith("socket:")}


def case_small_process_has_none():
    v = Victim(TIDEPOOL_WATCH_MIN="512M", TIDEPOOL_LIMIT="4G")
    v.tell("grow")
    v.tell("grow")
    assert not names(v.pid)


def sampled(*words, **settings):
    """Of the system's own programs: they ask for little, once, and then wait."""
    p = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env={"LD_PRELOAD": LIB, "TIDEPOOL_SAMPLE": "on", "PATH": os.environ["PATH"], **settings})
    victims.append(p)
    return p


def case_small_process_that_samples_has_one():
    where = tempfile.mkdtemp(prefix="tidepool-control.")
    for words in ["sleep", "20"], ["perl", "-e", "sleep 20"], ["cat"], ["sh", "-c", "sleep 20; exit"]:
        for watchdog in "on", "off":
            p = sampled(*words, TIDEPOOL_SAMPLE_DIR=where, TIDEPOOL_WATCHDOG=watchdog)
            done = subprocess.run([f"{B}/tidepool", "dump", str(p.pid)], capture_output=True, text=True, check=False)
            assert done.returncode == 0 and done.stdout.startswith(where), f"{words}, watchdog {watchdog}: {done}"
    shutil.rmtree(where)


def case_small_child_that_samples_has_one():
    p = sampled("perl", "-e", 'fork; @some = map { "x" x $_ } 1..300; sleep 20')
    with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
        child = wait_for("a child", lambda: f.seek(0) or f.read().split())[0]
    good(ask(name_of(child)))
    os.kill(int(child), signal.SIGKILL)


def case_sampling_alone_starts_no_thread_where_nothing_can_ask():
    p = sampled("sleep", "20", TIDEPOOL_CONTROL="off")
    time.sleep(1)
    assert len(os.listdir(f"/proc/{p.pid}/task")) == 1


def case_answers_its_user_and_keeps_low_numbers_free():
    v = Victim()
    v.tell("grow")
    answers(v)
    low = [fd for fd, to in fds_of(v.pid).items() if 2 < fd < 200 and to.startswith("socket:")]
    assert not low, f"sockets at {low}"
    ns = os.stat("/proc/self/ns/pid").st_ino
    assert name_of(v.pid).startswith(f"tidepool/{ns}/{v.pid}/")


def case_switched_off():
    v = Victim(TIDEPOOL_CONTROL="off")
    v.tell("grow")
    wait_for("the thread", lambda: len(os.listdir(f"/proc/{v.pid}/task")) == 2)
    time.sleep(1.5)
    assert not names(v.pid)


def case_requests_that_are_none():
    v = Victim()
    v.tell("grow")
    name = name_of(v.pid)
    for request, why in ((b"nonsense\n", "no such command"), (b"\n", "no such command"),
                         (b"version\x1b[2J\n", "not a request"), (b"ver\0sion\n", "not a request"),
                         (b"v\xc3\xa9\n", "not a request")):
        answer = ask(name, request)
        assert answer == f"error {why}\n# EOF\n", f"{request} is answered {answer!r}"
    with dial(name) as s:
        s.sendall(b"x" * 100000)
        try:
            assert s.recv(100) == b""
        except ConnectionResetError:
            pass
    answers(v)


def case_silent_clients_lock_nobody_out():
    v = Victim()
    v.tell("grow")
    silent = [dial(name_of(v.pid)) for _ in range(12)]
    answers(v)
    for s in silent:
        s.close()
    answers(v)


def why_no_other_user():
    """None where programs can be started as another user."""
    if not ROOT:
        return "needs root"
    try:
        subprocess.run([ASKED], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=USER, check=True)
    except PermissionError:
        return f"another user cannot reach {ASKED}"


def case_another_user_is_refused():
    if why := why_no_other_user():
        return why
    v = Victim(uid=USER)
    v.tell("grow")
    name = name_of(v.pid)
    good(ask_as(USER, name))
    good(ask_as(0, name))
    for uid in OTHER, 65534:
        answer = ask_as(uid, name)
        assert answer == "error permission denied\n", f"user {uid} got {answer!r}"
    root = Victim()
    root.tell("grow")
    assert ask_as(USER, name_of(root.pid)) == "error permission denied\n"


def case_many_strangers_lock_nobody_out():
    if why := why_no_other_user():
        return why
    v = Victim(uid=USER)
    v.tell("grow")
    name = name_of(v.pid)
    pid = os.fork()
    if not pid:
        os.setresuid(OTHER, OTHER, OTHER)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            try:
                dial(name).close()
            except OSError:
                pass
        os._exit(0)
    for _ in range(20):
        good(ask_as(USER, name))
    os.waitpid(pid, 0)


def shares_descriptors(v):
    """Before Linux 5.9 the channel is among the program's own."""
    return bool(sockets_of(v.pid) & set(fds_of(v.pid).values()))


def answers_still(v, first, shared):
    """By the same name, or where descriptors are shared by the next."""
    if not shared:
        time.sleep(1.5)  # the thread looks after its channel every second
        assert names(v.pid) == [first]
        good(ask(first))
    else:
        good(ask(wait_for("a new channel", lambda: [n for n in names(v.pid) if n != first])[0]))


def case_closing_all_numbers_closes_no_channel():
    v = Victim()
    v.tell("grow")
    first, shared = name_of(v.pid), shares_descriptors(v)
    v.tell("close")
    answers_still(v, first, shared)


def case_numbers_taken_by_the_program_stay_its_own():
    v = Victim()
    v.tell("grow")
    first, shared = name_of(v.pid), shares_descriptors(v)
    v.tell("take")
    answers_still(v, first, shared)
    v.tell("check")


def case_stderr_that_the_program_closed_is_not_kept():
    read, write = os.pipe()
    v = Victim(stderr=write)
    os.close(write)
    v.tell("grow")
    answers(v)
    v.tell("hush")
    assert select.select([read], [], [], PATIENCE_S)[0] and os.read(read, 1) == b"", "nobody closed it"
    answers(v)
    os.close(read)


def case_child_has_its_own():
    v = Victim()
    v.tell("grow")
    parents = name_of(v.pid)
    channel = sockets_of(v.pid)
    assert channel, "no thread of it has a socket"
    child = v.tell("fork")
    assert child != v.pid, "no child"
    assert not names(child), f"a name before it has grown: {names(child)}"
    assert not channel & sockets_of(child), "the child has the parent's"
    good(ask(parents))
    v.tell("grow")
    good(ask(name_of(child)))


def case_gone_with_the_program():
    v = Victim()
    v.tell("grow")
    name_of(v.pid)
    v.process.stdin.write("sleep\n")
    v.process.stdin.flush()
    wait_for("exec", lambda: "sleep" in os.readlink(f"/proc/{v.pid}/exe"))
    assert not names(v.pid)


def run(suite, cases, words, after=lambda: None):
    """All functions named case_*, and a line of counts behind `suite`; what one returns is why it was skipped. True if any failed."""
    for name, case in list(cases.items()):
        if not name.startswith("case_") or words and not any(w in name for w in words):
            continue
        try:
            skipped = case()
        except Exception as e:  # pylint: disable=broad-except
            counts["failed"] += 1
            print(f"  FAILED  {name[5:]}: {type(e).__name__}: {e}")
        else:
            counts["skipped" if skipped else "passed"] += 1
            if skipped:
                print(f"  SKIPPED {name[5:]}: {skipped}")
            elif os.environ.get("VERBOSE"):
                print(f"  ok      {name[5:]}", flush=True)
        after()
        for process in victims:
            process.kill()
            process.communicate()
        victims.clear()
    print(suite + "{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return counts["failed"] or not counts["passed"]


if __name__ == "__main__":
    sys.exit(bool(run("control: ", globals(), sys.argv[1:])))
