"""Folders and names that are not as they should be: one line on stderr, the process unharmed, and
never a broken file."""
import glob
import os
import resource
import shutil
import subprocess
import tempfile
import time

from stack import *

LINE = "tidepool: no metrics for Prometheus: "


def run(directory, before=None, words=("thread", "busy"), during=None, seconds=0.4, user=None, **settings):
    """A process that lives for two intervals after its first line or file; what it printed on stderr, its pid, and its status.
    before(pid) runs in it before exec, during(pid) while it lives."""
    err = tempfile.TemporaryFile("w+", dir=work)
    p = start([PROGRAM_COPY, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, cwd=folder("cwd"),
              user=user, env=dict(preloaded(directory, **{"INTERVAL": "200ms", **settings}), LD_PRELOAD=LIB_COPY),
              preexec_fn=lambda: before(os.getpid()) if before else None)
    p.stdout.readline()
    wait_for("a line or a file", lambda: said(p.pid) or read_if_file(f"{directory}/tidepool-{p.pid}.prom"))
    time.sleep(seconds)
    if during:
        during(p.pid)
    p.stdin.close()
    status = p.wait(10)
    err.seek(0)
    return err.read().splitlines(), p.pid, status


def said(pid):
    """How much there is on its stderr."""
    return os.stat(f"/proc/{pid}/fd/2").st_size


def whole(directory):
    """All that a scrape would read there is well-formed, and nothing else is left."""
    for f in os.listdir(directory):
        path = f"{directory}/{f}"
        if f.endswith(".tmp") and not os.path.isdir(path):
            return f
        if f.endswith(".prom") and os.path.isfile(path) and not os.path.islink(path):
            parse(read(path))
    return None


def one_line(what, lines, status, reason):
    check(f"{what}: the process is unharmed", status == 0, status)
    check(f"{what}: one line", len(lines) == 1 and lines[0].startswith(LINE) and reason in lines[0], lines)


def test_missing():
    d = folder() + "/none"
    lines, _, status = run(d)
    one_line("missing", lines, status, f"cannot be written to {d} (TIDEPOOL_PROM_DIR): No such file or directory")

    def recovers(pid):
        os.mkdir(d)
        check("missing: it is written once there is a folder",
              wait_for("a file", lambda: files(d) == [f"tidepool-{pid}.prom"], 5))
    lines, _, status = run(d, during=recovers)
    one_line("missing, then there", lines, status, "No such file")
    check("missing, then there: removed at exit", files(d) == [])


def test_no_folder():
    d = folder() + "/file"
    open(d, "w").close()
    lines, _, status = run(d)
    one_line("a file", lines, status, "not a folder")


def test_unwritable():
    d = folder()
    if os.geteuid() != 0:
        os.chmod(d, 0o555)
    lines, _, status = run(d, user=65534 if os.geteuid() == 0 else None)
    one_line("unwritable", lines, status, "Permission denied")
    check("unwritable: nothing there", os.listdir(d) == [])


def test_full():
    d = folder()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", d], capture_output=True).returncode:
        return skip("a full disk", "no right to mount")
    try:
        lines, _, status = run(d)
        one_line("full", lines, status, "No space left on device")
        check("full: no half file", files(d) == [] and whole(d) is None, os.listdir(d))

        def fills_up(pid):
            path = f"{d}/tidepool-{pid}.prom"
            subprocess.run(["mount", "-o", "remount,size=64k", d], check=True)
            check("full: it is written once there is room", wait_for("a file", lambda: read(path), 5))
            with open(d + "/rest", "wb") as f:
                try:
                    while True:
                        os.write(f.fileno(), b"x" * 4096)
                except OSError:
                    pass
            time.sleep(0.7)
            check("full again: the old file is whole", parse(read(path)))
            check("full again: nothing beside it", whole(d) is None, os.listdir(d))
        lines, _, status = run(d, during=fills_up)
        check("full, room, full: the process is unharmed", status == 0, status)
        check("full, room, full: a line each time", len(lines) == 2 and all("No space" in x for x in lines), lines)
    finally:
        subprocess.run(["umount", d])


def test_symlinks():
    d, other = folder(), folder("other")
    link = d + ".link"
    os.symlink(other, link)
    for path in link, link + "/":
        lines, _, status = run(path)
        one_line("a link for a folder", lines, status, "symbolic link")
        check("a link for a folder: not followed", os.listdir(other) == [], os.listdir(other))

    def swaps(pid):
        os.rename(d, d + ".away")
        os.symlink(other, d)
        wait_for("a line", lambda: said(pid))
        time.sleep(0.4)
    lines, _, status = run(d, during=swaps)
    one_line("a folder swapped for a link", lines, status, "symbolic link")
    check("a folder swapped for a link: not followed", os.listdir(other) == [], os.listdir(other))


def test_swapped_while_opened():
    """The folder is swapped between the call that opens it and the look at what its name means."""
    d, other = folder(), folder("other")
    err = tempfile.NamedTemporaryFile("w+", dir=work)
    settings = {"LD_PRELOAD": LIB_COPY, "TIDEPOOL_PROM_DIR": d, "TIDEPOOL_PROM_INTERVAL": "200ms"}
    words = [word for name, value in settings.items() for word in ("-E", f"{name}={value}")]
    p = start(["strace", "-f", "-qq", "-o", "/dev/null", "-P", d, "-e", "inject=openat:delay_exit=2000000:when=1", *words,
               PROGRAM_COPY, "thread", "busy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
    p.stdout.readline()
    # The first of these calls takes two seconds.
    time.sleep(1)
    os.rename(d, d + ".away")
    os.symlink(other, d)
    wait_for("a line", lambda: os.fstat(err.fileno()).st_size)
    time.sleep(0.4)
    p.stdin.close()
    status = p.wait(10)
    err.seek(0)
    one_line("a folder swapped while it is opened", err.read().splitlines(), status, "symbolic link")
    check("a folder swapped while it is opened: not followed", os.listdir(other) == [], os.listdir(other))


def test_name_taken():
    precious = work + "/precious"
    with open(precious, "w") as f:
        f.write("precious")
    os.chmod(precious, 0o600)
    for what, make, reason in (("a folder", os.mkdir, "its name is taken"),
                               ("a pipe", os.mkfifo, "its name is taken"),
                               ("a link", lambda path: os.symlink(precious, path), None)):
        for suffix in "", ".tmp":
            d = folder()
            seen = []
            lines, pid, status = run(d, before=lambda pid: make(f"{d}/tidepool-{pid}.prom{suffix}"),
                                     during=lambda pid: seen.append(read_if_file(f"{d}/tidepool-{pid}.prom")))
            what_taken = f"name{suffix} taken by {what}"
            # What is in the way of the temporary file is removed, if it is not a folder.
            if suffix and what != "a folder":
                reason = None
            if reason or suffix and what == "a folder":
                one_line(what_taken, lines, status, reason if not suffix else "")
            else:
                check(f"{what_taken}: no line", lines == [] and status == 0, lines)
                check(f"{what_taken}: written", seen[0] and parse(seen[0]))
            check(f"{what_taken}: no broken file", whole(d) is None, whole(d))
    check("a link's target is not touched", read(precious) == "precious" and
          os.stat(precious).st_mode & 0o777 == 0o600)


def read_if_file(path):
    return read(path) if os.path.isfile(path) and not os.path.islink(path) else None


def open_files(pid):
    found = []
    for fd in glob.glob(f"/proc/{pid}/task/*/fd/*"):
        try:
            found.append(os.readlink(fd))
        except FileNotFoundError:
            pass
    return found


def test_limits():
    d = folder()
    # A file of more than 4 KiB would cost a signal, at exit too.
    limit = lambda pid: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    lines, _, status = run(d, before=limit, KEEP="1")
    one_line("ulimit -f", lines, status, "File too large")
    check("ulimit -f: nothing there", files(d) == [] and whole(d) is None, os.listdir(d))

    seen = []
    def descriptors(pid):
        seen.append(files(d))
        # The thread that writes may have descriptors of its own, and the folder's while it writes.
        for _ in range(100):
            open_now = open_files(pid)
            if not [f for f in open_now if f.startswith(d)]:
                break
            time.sleep(0.05)
        check("few descriptors: none is kept", not [f for f in open_now if f.startswith(d)], open_now)
    lines, pid, status = run(d, before=lambda pid: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)), during=descriptors,
                             SOURCE="rss", LIMIT="1G")
    check("few descriptors: written all the same", status == 0 and seen[0], (lines, seen))

    lines, _, status = run(d, words=("thread", "nofile", "busy"))
    lines = [x for x in lines if "TIDEPOOL_PROM_DIR" in x] # the watchdog has its own to say
    one_line("no descriptor", lines, status, "Too many open files")


def test_mode_and_names():
    d = folder()
    seen = []

    def look(pid):
        path = f"{d}/tidepool-{pid}.prom"
        seen.append((read(path), os.stat(path).st_mode & 0o777))
    name = b'a"b\\c\nK\xc3\xb6\xff\xe6'
    lines, pid, status = run(d, words=(b"comm=" + name, "thread", "busy"), before=lambda pid: os.umask(0o777),
                             during=look)
    check("umask 777: 0644 all the same", seen[0][1] == 0o644, oct(seen[0][1]))
    check("a name of odd bytes", f'{{pid="{pid}",comm="a\\"b\\\\c' in seen[0][0], seen[0][0][:400])
    ok = subprocess.run(["promtool", "check", "metrics"], input=seen[0][0].encode(), capture_output=True)
    check("a name of odd bytes: promtool", ok.returncode == 0, ok.stderr.decode())
    check("no lines", lines == [] and status == 0, lines)


def test_bad_settings():
    d = folder()
    for labels in ("pid=1", "a=1,a=2", "__name__=x", "a", 'a="x', "a=" + "x" * 2000):
        lines, _, status = run(d, LABELS=labels, seconds=0)
        check(f"LABELS={labels[:20]}: one line", status == 0 and len(lines) == 1 and
              lines[0].startswith("tidepool: TIDEPOOL_LABELS=") and lines[0].endswith("using none"), lines)
    lines, _, status = run("relative", seconds=0)
    check("a relative folder: one line", len(lines) == 1 and "an absolute path" in lines[0], lines)


def test_closed_under_it():
    """A program that closes all descriptors again and again never finds our text in its own file. Without
    the watchdog and the control channel, which open others than these."""
    d = folder()
    own = []

    def look(pid):
        own.append(read(f"/proc/{pid}/cwd/own"))
    lines, pid, status = run(d, words=("thread", "closing"), during=look, seconds=4, INTERVAL="100ms", WATCHDOG="off", CONTROL="off")
    check("closing: unharmed", status == 0, status)
    check("closing: its file is its own", own[0] and set(own[0].split("\n")) == {"own", ""}, str(own)[:200])
    check("closing: few lines", len(lines) <= 4, lines)
    check("closing: no broken file", whole(d) is None, os.listdir(d))


def test_chroot():
    if os.geteuid() != 0:
        return skip("chroot", "not root")
    d = folder()
    lines, _, status = run(d, words=("chroot=" + folder("root"), "thread", "busy"))
    # Without /proc no limit can be read either, which has a line of its own.
    unwatched = [l for l in lines if "memory is not watched" in l]
    check("chroot: memory is not watched", len(unwatched) == 1, lines)
    one_line("chroot", [l for l in lines if l not in unwatched], status, "No such file or directory")


# Where everybody may read them.
LIB_COPY = shutil.copy(LIB, work)
PROGRAM_COPY = shutil.copy(PROGRAM + "known", work)
for test in (test_missing, test_no_folder, test_unwritable, test_full, test_symlinks, test_swapped_while_opened,
             test_name_taken, test_limits, test_mode_and_names, test_bad_settings, test_closed_under_it, test_chroot):
    test()
finish("places")
