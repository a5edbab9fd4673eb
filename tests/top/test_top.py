"""`tidepool top` over real processes: as a table, as JSON (read by jq), and on a terminal of 80 by 24;
with names and answers that mean harm, users who may not ask, and processes in containers of their own.

    B=$PWD/build/release python3 tests/top/test_top.py [WORD]     only cases with that word
"""
import csv
import itertools
import json
import mmap
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../preload"))
import control  # noqa: E402
from control import USER, OTHER, Victim, victims, wait_for, name_of, names  # noqa: E402
from terminal import Terminal  # noqa: E402

TOP = [f"{control.B}/tidepool", "top"]
ROOT = control.ROOT
terminals = []


def top(*options, user=None, status=0):
    done = subprocess.run([*TOP, *options], capture_output=True, user=user, timeout=60,
                          group=user, extra_groups=None if user is None else [])
    assert done.returncode == status, f"ended with {done.returncode}: {done.stderr.decode()}"
    return done.stdout if status == 0 else done.stderr


def jq(text, expression):
    done = subprocess.run(["jq", "-ce", expression], input=text, capture_output=True, check=False)
    assert done.returncode == 0, f"jq {expression}: {done.stderr.decode()} {done.stdout.decode()}"
    return json.loads(done.stdout)


def rows(*options, **how):
    return {r["pid"]: r for r in jq(top("--json", *options, **how), ".processes")}


def grown(**settings):
    """What is shown is of the last look, so looks are frequent, and the machine's memory is left out."""
    v = Victim(**{"TIDEPOOL_SOURCE": "rss", "TIDEPOOL_INTERVAL": "50ms", **settings})
    v.tell("grow")
    name_of(v.pid)
    return v


def on_terminal(*options, **how):
    t = Terminal([*TOP, *options], **how)
    terminals.append(t)
    return t


def case_table_and_json_agree():
    v = grown(TIDEPOOL_LABELS="service=api,shard=3")
    small = Victim(TIDEPOOL_LIMIT="4G")
    wait_for("a look", lambda: rows(f"--pid={v.pid}")[v.pid]["usage_bytes"] >= 48 << 20)
    r = rows(f"--pid={v.pid},{small.pid}")
    assert set(r) == {v.pid, small.pid}, r
    a = r[v.pid]
    assert a["process"] == "asked" and a["state"] == "ok" and a["service"] == "api", a
    # What it grew by, in blocks of 1 MiB, of a limit of 256 MiB.
    assert a["live_bytes"] >= 48 << 20 and a["limit_bytes"] == 256 << 20, a
    assert a["level"] == "normal" and 0.1 < a["usage_ratio"] < 0.6, a
    assert a["allocations"] >= 48 and a["reclaims"] == sum(a["reclaims_by_cause"].values()), a
    assert r[small.pid]["state"] == "no channel" and "watchdog" in r[small.pid]["why"], r
    # Where the line has room for it.
    assert re.search(r", outside malloc \d[0-9.]*[BKM]$", top("--once", f"--pid={v.pid}").decode().splitlines()[0])
    lines = top("--once", f"--pid={v.pid},{small.pid}").decode().splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= 80, lines
    # Also where one does not answer, and beside numbers of any length.
    assert re.match(r"tidepool: 2 processes, 1 silent; live .*, outside malloc \d[0-9.]*[BKM]$", lines[0]), lines
    line = next(x for x in lines if f" {v.pid} " in x)
    assert re.match(rf"asked +{v.pid} normal +[#.]{{8}} *\d+% +\d+M ", line), line
    assert line.split()[5] == f"{a['live_bytes'] / (1 << 20):.0f}M", line
    assert any(re.search(r"RSS \d.*; no watchdog thread yet", x) for x in lines), lines
    assert 0 < r[small.pid]["resident_bytes"] < a["resident_bytes"] < 256 << 20, r
    # In pages taken while the blocks are made: what is live is resident.
    assert a["resident_bytes"] >= 48 << 20, a
    # Its stack and little else; the blocks are malloc's.
    assert 0 <= a["outside_bytes"] < 16 << 20, a


def case_nothing_matches():
    lines = top("--once", "--service=none-such").decode().splitlines()
    assert lines[-1] == "no process under tidepool matches" and len(lines) == 3, lines


def case_what_is_live_is_what_the_program_has():
    v = grown()
    before = rows(f"--pid={v.pid}")[v.pid]
    v.tell("grow")
    after = rows(f"--pid={v.pid}")[v.pid]
    assert after["live_bytes"] - before["live_bytes"] == 48 << 20, (before, after)
    assert after["allocations"] - before["allocations"] == 48, (before, after)


def case_live_counts_blocks_of_all_sizes():
    v = grown()
    v.tell("large")
    wait_for("a look", lambda: 144 << 20 <= rows(f"--pid={v.pid}")[v.pid]["malloc_bytes"] < 145 << 20)
    lines = top("--once", f"--pid={v.pid}").decode().splitlines()
    assert lines[2].split()[5] == "144M" and "; live 144M, " in lines[0], lines


def case_filters_and_rates():
    one, two = grown(TIDEPOOL_LABELS="service=front"), grown(TIDEPOOL_LABELS="service=back-1")
    assert set(rows("--service=front")) == {one.pid}
    assert set(rows("--service=back-*")) == {two.pid}
    assert set(rows("--service=*", f"--pid={one.pid}")) == {one.pid}
    assert rows(f"--pid={one.pid}")[one.pid]["reclaims_per_second"] is None
    r = rows("--once", "-d", "0.2", f"--pid={one.pid}")[one.pid]
    assert r["reclaims_per_second"] >= 0, r


def case_sorted():
    small, large = grown(), grown()
    large.tell("grow")
    chosen = f"--pid={small.pid},{large.pid}"
    wait_for("a look", lambda: rows(chosen)[large.pid]["usage_bytes"] >= 96 << 20)
    for options, first in ((["--sort=live"], large), (["--sort=live", "--reverse"], small),
                           (["--sort", "pid"], min(small, large, key=lambda v: v.pid)),
                           (["--sort=usage"], large)):
        r = jq(top("--json", chosen, *options), ".processes")
        assert r[0]["pid"] == first.pid, (options, r)


def case_bad_options():
    for options, why in ((["--sort=size"], "expected a column"), (["-d", "0"], "expected seconds"),
                         (["-d"], "expected seconds"), (["--pid=x"], "expected PID"),
                         (["--pid=1,,2"], "expected PID"), (["--count=0"], "expected a number"),
                         (["--count=1x"], "expected a number"), (["--once=2"], "no such option"),
                         (["extra"], "no such option"), (["-d", "1e9"], "expected seconds")):
        said = top(*options, status=125).decode()
        assert said.startswith("tidepool: top: ") and why in said and said.count("\n") == 1, said
    assert b"--service" in top("--help")
    assert b"dump PID" in subprocess.run([TOP[0], "dump", "--help"], capture_output=True, check=True).stdout


NAMES = [b"\x1b[2J\x1b[31mred", b'a"b\\c', b"new\nline\ttab", b"\xff\xfe\x80bad", b") R 1 2 3", b"",
         "h\u00e9llo".encode(), b"\xc2\x9b2J", b"\xed\xa0\x80"]


def case_names_that_mean_harm():
    v = grown()
    for name in NAMES:
        v.tell("name " + name.hex())
        text = top("--json", f"--pid={v.pid}")
        text.decode("utf-8")
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", text), text
        shown = jq(text, ".processes[0].process")
        if name not in (b"\xff\xfe\x80bad", b"\xed\xa0\x80"):
            assert shown == name.decode("utf-8"), f"{name} became {shown!r}"
        table = top("--once", f"--pid={v.pid}")
        assert re.fullmatch(rb"[ -~\n]*", table) and table.count(b"\n") == 3, table


def case_labels_that_mean_harm():
    for label, value in ((r'service="a\"b\\c\nd"', 'a"b\\c\nd'), ('service="}{,=x"', "}{,=x"),
                         ('service="\x1b[2J"', "\x1b[2J"), ('service="caf\u00e9"', "caf\u00e9")):
        v = Victim(TIDEPOOL_LABELS=label)
        v.tell("grow")
        name_of(v.pid)
        text = top("--json", f"--pid={v.pid}")
        r = jq(text, ".processes[0]")
        assert r["state"] == "ok" and r["live_bytes"] > 0, (label, r)
        assert r["service"] == value, (label, r)
        assert b"\x1b" not in text


class Liar:
    """A process (this one's child) that looks like one of ours and answers as it likes."""

    def __init__(self, answer, endless=False):
        self.pid = os.fork()
        if self.pid:
            wait_for("the liar", lambda: names(self.pid))
            return
        try:
            with tempfile.TemporaryDirectory() as folder, open(f"{folder}/libtidepool.so", "w+b") as f:
                f.truncate(4096)
                mapping = mmap.mmap(f.fileno(), 4096)
                ns = os.stat("/proc/self/ns/pid").st_ino
                s = socket.socket(socket.AF_UNIX)
                s.bind(f"\0tidepool/{ns}/{os.getpid()}/1")
                s.listen()
                signal.alarm(60)
                while mapping:
                    c = s.accept()[0]
                    threading.Thread(target=self.serve, args=(c, answer, endless), daemon=True).start()
        finally:
            os._exit(0)

    @staticmethod
    def serve(c, answer, endless):
        try:
            c.recv(1000)
            c.sendall(answer)
            while endless:
                c.sendall(b"x" * 65536)
            if not answer:
                time.sleep(30)
        except OSError:
            pass
        c.close()


def case_answers_that_mean_harm():
    number = b'tidepool_pool_live_bytes{bucket="1024"} '
    answers = [(b"", "silent"), (b"ok\n", "silent"), (b"ok\n# EOF", "silent"), (b"# EOF\n", "silent"),
               (b"error \x1b[2J\x07boo\n# EOF\n", "failed"), (b"\0\0\0\0", "silent"),
               (b"ok\n\0\n# EOF\n", "silent"), (b"ok\n# EOF\n", "ok"),
               (b"ok\n" + b"{" * 70000 + b"\n# EOF\n", "ok"),
               (b'ok\nx{a="\\\n# EOF\n', "ok"), (b'ok\nx{service="\x1b[2J\n"} 1\n# EOF\n', "ok"),
               (b"ok\n" + number + b"1e400\n" + number + b"-5\n" + number + b"nan\n# EOF\n", "ok"),
               (b"ok\ntidepool_memory_pressure_level 1e300\n# EOF\n", "ok"),
               (b"ok\ntidepool_memory_reclaims_total{cause=\"" + b"y" * 500 + b"\"} 1e300\n# EOF\n", "ok")]
    liars = []
    try:
        for answer, _ in answers:
            liars.append(Liar(answer))
        liars.append(Liar(b"ok\n", endless=True))
        pids = "--pid=" + ",".join(str(x.pid) for x in liars)
        text = top("--json", pids)
        assert re.fullmatch(rb"[ -~\n]*", text), text
        got = {r["pid"]: r for r in jq(text, ".processes")}
        for liar, (answer, state) in zip(liars, answers + [(b"", "silent")]):
            assert got[liar.pid]["state"] == state, (answer[:40], got[liar.pid])
        table = top("--once", pids)
        assert re.fullmatch(rb"[ -~\n]*", table) and max(map(len, table.split(b"\n"))) <= 80, table
        t = on_terminal(pids)
        t.wait_for(lambda t: "silent" in str(t.screen()) or "answer" in str(t.screen()), "liars")
    finally:
        for liar in liars:
            os.kill(liar.pid, signal.SIGKILL)
            os.waitpid(liar.pid, 0)


def dump_of(answer):
    """What `tidepool dump` makes of a process that answers so: (status, stdout, stderr without the pid)."""
    liar = Liar(answer)
    try:
        done = subprocess.run([TOP[0], "dump", str(liar.pid)], capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr.replace(b"process %d " % liar.pid, b"")
    finally:
        os.kill(liar.pid, signal.SIGKILL)
        os.waitpid(liar.pid, 0)


def case_dump_prints_one_plain_path_or_nothing():
    with tempfile.NamedTemporaryFile(prefix="caf\u00e9-", suffix=".heap") as f:
        own = f.name.encode()
        assert dump_of(b"ok\n%s\n# EOF\n" % own) == (0, own + b"\n", b"")
        no_path, too_much = b"what is no plain absolute path: ", b"more than a path"
        for answer, why in ((b"%s --html /tmp/overwritten" % own, no_path), (b"--html=/tmp/overwritten", no_path),
                            (b"%s\t--json" % own, no_path), (b"%s\n/etc/passwd" % own, too_much),
                            (os.path.basename(own), no_path), (b"", no_path), (b"/tmp/$(id)", no_path),
                            (b"/tmp/*", no_path), (b"/tmp/a'b", no_path), (b'/tmp/a"b', no_path),
                            (b"/tmp/\x1b[2J\xc2\x9b", no_path)):
            status, out, err = dump_of(b"ok\n%s\n# EOF\n" % answer)
            assert (status, out) == (125, b"") and err.startswith(b"tidepool: answers " + why), (answer, out, err)
            assert re.fullmatch(rb"[^\x00-\x1f\x7f]*\n", err), err


def case_dump_names_no_file_of_another():
    refused = b"tidepool: names a file that its user does not own: "
    with tempfile.TemporaryDirectory() as folder:
        link, pipe = f"{folder}/link", f"{folder}/pipe"
        os.symlink("/etc/passwd", link)
        os.mkfifo(pipe)
        for path in f"{folder}/none", link, pipe, folder:
            assert dump_of(b"ok\n%s\n# EOF\n" % path.encode()) == (125, b"", refused + path.encode() + b"\n")
        if not ROOT:
            return
        other = f"{folder}/other"
        with open(other, "w", encoding="ascii"):
            os.chown(other, USER, USER)
        assert dump_of(b"ok\n%s\n# EOF\n" % other.encode()) == (125, b"", refused + other.encode() + b"\n")


def case_an_error_of_dump_is_harmless():
    assert dump_of(b"error \x1b[2J\x07no\n# EOF\n") == (125, b"", b"tidepool: says: ?[2J?no\n")


def case_who_cannot_be_asked_is_not_waited_for():
    """Well within the 30 s in which a process that was asked may write its profile."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid, why in (ended.pid, "no such process"), (os.getpid(), "has no control channel"):
        done = subprocess.run([TOP[0], "dump", str(pid)], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 125 and why in done.stderr and done.stdout == "", done


def case_an_impostor_is_not_asked():
    v = grown()
    ns = os.stat("/proc/self/ns/pid").st_ino
    false = []
    # More than anybody would try one by one, and some on either side of it in the list.
    for i in range(200):
        s = socket.socket(socket.AF_UNIX)
        s.bind(f"\0tidepool/{ns}/{v.pid}/{i}")
        s.listen()
        false.append(s)
    assert rows(f"--pid={v.pid}")[v.pid]["state"] == "ok"


def case_another_user_sees_that_there_is_one():
    if not ROOT:
        return "needs root"
    root, own = grown(), grown(uid=USER)
    r = rows(user=USER)
    assert r[own.pid]["state"] == "ok" and r[own.pid]["live_bytes"] > 0, r
    assert r[root.pid]["state"] == "denied" and r[root.pid]["process"] == "asked", r
    assert rows(user=OTHER)[own.pid]["state"] == "denied"
    assert "belongs to another user" in top("--once", f"--pid={root.pid}", user=USER).decode()


def in_namespaces(options, uid=None):
    """A victim inside, and its pid as seen from here."""
    env = {"LD_PRELOAD": control.LIB, "TIDEPOOL_WATCH_MIN": "8M", "TIDEPOOL_LIMIT": "256M",
           "PATH": os.environ["PATH"]}
    p = subprocess.Popen(["unshare", *options, "env", *(f"{k}={v}" for k, v in env.items()), control.ASKED],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, user=uid)
    victims.append(p)
    assert p.stdout.readline(), f"unshare {options}"
    p.stdin.write("grow\n")
    p.stdin.flush()
    assert p.stdout.readline()
    pids = [p.pid] + [int(x) for x in subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True,
                                                     check=False, text=True).stdout.split()]
    pid = pids[-1]
    wait_for("its channel", lambda: "@tidepool/" in open(f"/proc/{pid}/net/unix").read())
    return pid


def case_processes_in_containers():
    if not ROOT:
        return "needs root"
    for options in (["--net"], ["--pid", "--fork"], ["--net", "--pid", "--fork", "--mount-proc"],
                    ["--user", "--map-root-user"],
                    ["--user", "--map-root-user", "--net", "--pid", "--fork"]):
        for uid in None, USER:
            if uid and "--user" not in options:
                continue
            pid = in_namespaces(options, uid)
            for asker in None, uid:
                # Its thread may just be starting.
                wait_for((options, uid, asker), lambda: rows(f"--pid={pid}", user=asker)
                         .get(pid, {}).get("state") == "ok")
            assert top("--once", f"--pid={pid}").count(b"no watchdog") == 0


def case_one_that_is_stopped_keeps_nobody_waiting():
    some = sorted((grown() for _ in range(3)), key=lambda v: v.pid)
    os.kill(some[0].pid, signal.SIGSTOP)
    chosen = "--pid=" + ",".join(str(v.pid) for v in some)
    # Often enough that no more connections to it are taken.
    for _ in range(20):
        r = rows(chosen)
        assert [r[v.pid]["state"] for v in some] == ["silent", "ok", "ok"], r
    os.kill(some[0].pid, signal.SIGCONT)
    wait_for("it", lambda: rows(chosen)[some[0].pid]["state"] == "ok")


def case_a_network_one_may_not_enter():
    if not ROOT:
        return "needs root"
    v = in_namespaces(["--net", "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"])
    assert rows(f"--pid={v}", user=USER)[v]["state"] == "elsewhere"
    assert rows(f"--pid={v}")[v]["state"] == "ok"


def case_the_channel_outlives_a_program_that_closes_all():
    v = grown()
    first, shared = name_of(v.pid), control.shares_descriptors(v)
    v.tell("close")
    control.answers_still(v, first, shared)
    assert rows(f"--pid={v.pid}")[v.pid]["state"] == "ok"


def fills_a_screen(t):
    lines = t.screen()
    return len(lines) == t.rows and lines[0].startswith("tidepool: ") and "q ends" in lines[-1] \
        and max(map(len, lines)) <= t.columns


def case_terminal_of_80_by_24():
    v = grown()
    t = on_terminal("-d", "0.2")
    t.wait_for(lambda t: fills_a_screen(t) and any(f" {v.pid} normal" in x for x in t.screen()), "a table")
    heading = t.screen()[1]
    assert heading.split() == ["process", "pid", "level", "USAGE", "live", "pool", "slack", "reuse", "recl", "/s"]
    assert len(heading) <= 80
    t.press("q")
    assert t.end() == 0 and t.restored()


def case_terminal_help_and_bytes():
    v = grown()
    t = on_terminal("-d", "0.2")
    t.resize(100, 24)
    t.wait_for(lambda t: fills_a_screen(t) and any(re.search(rf" {v.pid} normal .*% +\d+M +256M ", x) for x in t.screen()),
               "RSS and limit")
    assert "rss limit" in t.screen()[1], t.screen()[1]
    t.press("?")
    t.wait_for(lambda t: any("turn the order round" in x for x in t.screen()), "the help")
    # The line of keys counts rows, and there are none.
    assert re.match("any key goes back, q ends$", t.screen()[-1]), t.screen()[-1]
    t.press("x")
    t.wait_for(lambda t: any(f" {v.pid} normal" in x for x in t.screen()), "the table again")
    t.press("q")
    assert t.end() == 0 and t.restored()


def case_terminal_of_other_sizes():
    grown()
    t = on_terminal("-d", "0.2")
    for columns, height in (40, 10), (200, 50), (20, 3), (9, 2), (1, 1), (80, 24), (500, 600), (80, 24):
        t.resize(columns, height)
        # The first that begins from here on may know the old size.
        seen = t.frames()
        t.wait_for(lambda t: t.frames() >= seen + 3, "frames")
        t.last_frame()
        lines = t.screen()
        assert len(lines) <= height and max(map(len, lines), default=0) <= columns, (columns, height, lines)
    t.wait_for(fills_a_screen, "80 by 24")
    t.press("q")
    assert t.end() == 0 and t.restored()


def case_terminal_colours():
    v = grown()
    for wish, coloured in (None, True), ("", True), ("1", False):
        t = on_terminal("-d", "0.2", env={} if wish is None else {"NO_COLOR": wish})
        t.wait_for(lambda t: any(f" {v.pid} " in x for x in t.screen()), "a table")
        assert (b"\033[7m" in t.raw) == coloured, wish
        t.press("q")
        assert t.end() == 0


def case_terminal_keys():
    some = [grown() for _ in range(4)]
    pids = sorted(v.pid for v in some)
    t = on_terminal("-d", "0.5", "--sort=pid", "--pid=" + ",".join(map(str, pids)), rows=6)

    def order():
        return [int(x.split()[1]) for x in t.screen()[2:-1] if x]
    # Three of the four fit.
    t.wait_for(lambda t: order() == pids[:3], "by pid")
    t.press("\033[B")
    t.wait_for(lambda t: order() == pids[1:], "one down")
    t.press("\033[5~")
    t.wait_for(lambda t: order() == pids[:3], "a page up")
    t.press("i")
    t.wait_for(lambda t: order() == pids[:0:-1], "turned round")
    t.press("i")
    for key, column in zip("nplumfsrct", ("PROCESS", "PID", "LEVEL", "USAGE", "LIVE", "POOL", "SLACK", "REUSE",
                                          "RECL", "/s")):
        t.press(key)
        t.wait_for(lambda t: column in t.screen()[1].split(), column)
    t.press("<")
    t.wait_for(lambda t: "RECL" in t.screen()[1], "the column before")
    t.press(">>")
    t.wait_for(lambda t: "PROCESS" in t.screen()[1], "round to the first")
    t.press("+")
    t.wait_for(lambda t: t.screen()[-1].startswith("1.0 s"), "half as often")
    t.press("\033[Z\033OPxyz\t ")
    t.read()
    t.press("q")
    assert t.end() == 0 and t.restored()


def case_terminal_while_proc_cannot_be_read():
    t = on_terminal("-d", "0.5")
    t.wait_for(fills_a_screen, "a table")
    resource.prlimit(t.pid, resource.RLIMIT_NOFILE, (3, 3))
    t.read()
    before = t.raw.count(b"\033[1;1H")
    t.read(1)
    # On a slow machine there are fewer; without a wait there are thousands.
    assert t.raw.count(b"\033[1;1H") - before < 50, t.raw.count(b"\033[1;1H")
    t.press("q")
    assert t.end() == 0 and t.restored()


def case_terminal_is_restored_whatever_ends_it():
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT,
                signal.SIGBUS):
        t = on_terminal("-d", "0.2")
        t.wait_for(fills_a_screen, "a table")
        if sig == signal.SIGINT:
            t.press("\x03")
        else:
            os.kill(t.pid, sig)
        status = t.end()
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == sig, (sig, status)
        assert t.restored(), f"after {sig}"


def case_terminal_is_the_shells_while_stopped():
    t = on_terminal("-d", "0.2")
    t.wait_for(fills_a_screen, "a table")
    t.press("\x1a")
    t.wait_for(lambda t: open(f"/proc/{t.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", "stopped")
    t.read()
    assert t.restored()
    os.kill(t.pid, signal.SIGCONT)
    t.wait_for(lambda t: t.raw.rindex(b"\033[?1049h") > t.raw.rindex(b"\033[?1049l"), "back again")
    t.press("q")
    assert t.end() == 0 and t.restored()


def case_without_a_terminal():
    v = grown()
    t = on_terminal(env={"TERM": "dumb"})
    assert t.end() == 0 and b"\033" not in t.raw and f" {v.pid} ".encode() in t.raw
    p = subprocess.Popen([*TOP, "-d", "0.1", "--json"], stdout=subprocess.PIPE)
    several = [jq(p.stdout.readline(), ".processes | length") for _ in range(3)]
    p.kill()
    p.wait()
    assert min(several) >= 1
    p = subprocess.run([*TOP, "--once"], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, check=False)
    assert p.returncode == 125 and b"No space left" in p.stderr


def recorded(*options, **how):
    """As a spreadsheet reads it: a dictionary for each line."""
    return list(csv.DictReader(top("--watch-csv", *options, **how).decode().splitlines()))


def case_csv_and_json_agree():
    v, small = grown(TIDEPOOL_LABELS="service=api"), Victim(TIDEPOOL_LIMIT="4G")
    chosen = f"--pid={v.pid},{small.pid}"
    wait_for("a look", lambda: rows(chosen)[v.pid]["usage_bytes"] >= 48 << 20)
    told, lines = rows(chosen), recorded(chosen, "--count=3", "-d", "0.2")
    assert [int(r["pid"]) for r in lines] == 3 * [v.pid, small.pid], lines
    times = [float(r["time_seconds"]) for r in lines]
    assert times[0] == times[1] and 0.15 < times[2] - times[0] < 1 and abs(times[0] - time.time()) < 60, times
    for r in lines[:2]:
        for name, value in told[int(r["pid"])].items():
            if name not in ("why", "reclaims_by_cause", "usage_ratio", "usage_bytes", "resident_bytes"):
                same = r[name] == value if isinstance(value, str) else float(r[name] or "nan") == value
                assert same or r[name] == "" and value is None, (name, value, r)
    assert lines[0]["reclaims_per_second"] == "" and float(lines[2]["reclaims_per_second"]) >= 0, lines
    assert lines[1]["state"] == "no channel" and lines[1]["level"] == lines[1]["live_bytes"] == "", lines
    assert int(lines[1]["resident_bytes"]) > 0 and set(lines[0]) == set(lines[1]), lines


def case_csv_of_nothing_and_of_names_that_mean_harm():
    assert top("--watch-csv", "--once", "--service=none-such").decode().startswith("time_seconds,pid,")
    v = grown(TIDEPOOL_LABELS=r'service="a\"b,\nc"')
    v.tell("name " + b'e,\x1b[2J"\nf'.hex())
    r = recorded(f"--pid={v.pid}", "--once")
    assert len(r) == 1 and r[0]["service"] == 'a"b,?c' and r[0]["process"] == 'e,?[2J"?f', r


def case_records_end_with_a_whole_line():
    grown(), grown()
    # A reader that goes, also where SIGPIPE is ignored, as services have it.
    for ignored in (False, True):
        p = subprocess.Popen([*TOP, "--watch-csv", "-d", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             restore_signals=not ignored)
        assert p.stdout.readline().startswith(b"time_seconds,")
        p.stdout.close()
        assert p.wait(10) == -signal.SIGPIPE and p.stderr.read() == b"", p.returncode
    for end, delay in itertools.product((signal.SIGINT, signal.SIGTERM), (0.15, 0.31, 0.42)):
        with tempfile.TemporaryFile() as f:
            p = subprocess.Popen([*TOP, "--watch-csv", "-d", "0.1"], stdout=f)
            wait_for("a line", lambda: os.fstat(f.fileno()).st_size)
            time.sleep(delay)
            p.send_signal(end)
            assert p.wait(10) == -end, p.returncode
            f.seek(0)
            text = f.read().decode()
        commas = {line.count(",") for line in text.splitlines()}
        assert text.endswith("\n") and text.count("\n") > 2 and len(commas) == 1, text


def case_count():
    v = grown()
    chosen = f"--pid={v.pid}"
    assert top("--json", "--count=2", "-d", "0.1", chosen).count(b"\n") == 2
    assert len(top("--count", "2", "-d", "0.1", chosen).splitlines()) == 7
    assert len(recorded("--count=2", "--once", chosen)) == 1


def case_programs_come_and_go():
    """Processes that start and end while they are looked for: nothing but the living is listed."""
    done = time.monotonic() + 3
    while time.monotonic() < done:
        crowd = [subprocess.Popen(["sleep", "0.05"], env={"LD_PRELOAD": control.LIB, "PATH": os.environ["PATH"]})
                 for _ in range(8)]
        for r in rows().values():
            assert r["state"] in ("ok", "no channel", "silent", "denied"), r
        for p in crowd:
            p.wait()


def close_terminals():
    for t in terminals:
        t.close()
    terminals.clear()


if __name__ == "__main__":
    sys.exit(bool(control.run("", globals(), sys.argv[1:], close_terminals)))
