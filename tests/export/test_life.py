"""Whose file it is, and when it goes: short lives, forks, execs, kills, used pids, pid namespaces."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from stack import *

BUSY = ("thread", "busy")
FAST = dict(INTERVAL="200ms")


def run(directory, *words, prefix=(), stderr=sys.stderr, **settings):
    p = start([*prefix, PROGRAM + "known", *words], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
              stderr=stderr, env=preloaded(directory, **(settings or FAST)))
    line = p.stdout.readline().split()
    p.said_pid = int(line[1]) if line else 0
    return p


def tell(p, line):
    p.stdin.write(line + "\n")
    p.stdin.flush()


def end(p):
    p.stdin.close()
    return p.wait(20)


def name(pid):
    return f"tidepool-{pid}.prom"


def has(directory, pid):
    return wait_for(f"a file of {pid}", lambda: name(pid) in files(directory), 8)


def grow_old(directory, pid):
    os.utime(f"{directory}/{name(pid)}", (time.time() - 31,) * 2)


def tasks(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def test_short_lives():
    d = folder()
    for command in (["ls", "/"], ["sh", "-c", "ls / | cat"], ["bash", "-c", "for i in 1 2 3; do (:); done"]):
        subprocess.run(command, env=preloaded(d), stdout=subprocess.DEVNULL, check=True)
    check("short lives leave nothing", os.listdir(d) == [], os.listdir(d))
    # On a busy machine one of them may live for 100 ms.
    told = [thread_work(d) for _ in range(5)]
    check("a short life's thread does nothing but rest", min(told) <= 2, told)


def thread_work(directory):
    """How often `sleep` and the library's thread in it ask prctl(2) for something: confining the thread takes more."""
    with tempfile.NamedTemporaryFile() as f:
        done = subprocess.run(["strace", "-f", "-e", "trace=prctl,seccomp", "-o", f.name,
                               "-E", "LD_PRELOAD=" + LIB, "-E", "TIDEPOOL_PROM_DIR=" + directory, "sleep", "0.03"], check=False)
        return len([line for line in f if b"ctl(" in line or b"seccomp(" in line]) if done.returncode == 0 else 99


def test_long_lives():
    d = folder()
    # Idle: it comes by no place where a thread could be made.
    p = run(d, "live", INTERVAL="1s")
    check("an idle process has a file within two intervals",
          wait_for("the file", lambda: name(p.pid) in files(d), 2))
    end(p)
    p = run(d, "busy", INTERVAL="2s")
    check("two threads", wait_for("the thread", lambda: tasks(p.pid) == 2, 8))
    check("no file before an interval", files(d) == [])
    check("a small process that lives has a file", has(d, p.pid))
    end(p)
    # Large, with an interval that never ends.
    p = run(d, "grow=40", INTERVAL="60m")
    check("a large process has a file at once", has(d, p.pid))
    end(p)
    # Without a watchdog there is nothing about pressure, but the rest.
    p = run(d, *BUSY, INTERVAL="200ms", WATCHDOG="off")
    check("without a watchdog", has(d, p.pid))
    text = read(f"{d}/{name(p.pid)}")
    check("without a watchdog: what there is", "tidepool_pool_live_bytes" in text and
          "tidepool_memory" not in text and
          value(parse(text), "tidepool_jemalloc_allocated_bytes") > 0)
    end(p)
    check("all gone", files(d) == [], files(d))


def test_fork():
    d = folder()
    p = run(d, "misuse", "live", "fork", *BUSY, stderr=subprocess.DEVNULL, INTERVAL="200ms", CHECK="warn")
    child = p.said_pid
    check("fork: the child has its own file", child != p.pid and has(d, child))
    series = parse(read(f"{d}/{name(child)}"))
    check("fork: counters begin anew", value(series, "tidepool_frees_misused_total", kind="double") == 0 and
          value(series, "tidepool_pool_created_total", bucket="262144") == 0)
    check("fork: what lives, lives on", value(series, "tidepool_pool_live_blocks", bucket="262144") >= 3)
    end(p)
    check("fork: gone", name(child) not in files(d), files(d))


def test_ends_without_exit():
    d = folder()
    other = run(d, *BUSY)
    has(d, other.pid)
    for how in "_exit", "abort", "kill -9", "zombie":
        # Ten of its intervals are not what its file goes by.
        p = run(d, "grow=40", INTERVAL="60m")
        has(d, p.pid)
        if how in ("kill -9", "zombie"):
            p.kill()
        else:
            tell(p, how)
        if how != "zombie":
            p.wait(10)
        check(f"{how}: tidied up by another", wait_for("the end", lambda: name(p.pid) not in files(d), 8), files(d))
    # Going on as another program, which is idle: the file is its own.
    p = run(d, *BUSY)
    has(d, p.pid)
    tell(p, "exec")
    check("exec: the next program has the file", wait_for("it", lambda: 'comm="sleep"' in read(f"{d}/{name(p.pid)}"), 6))
    p.kill()
    # As one without the library: the pid lives, the file does not.
    p = run(d, *BUSY)
    has(d, p.pid)
    tell(p, "exec-plain")
    time.sleep(1)
    check("exec: it stays for a while", name(p.pid) in files(d))
    grow_old(d, p.pid)
    check("exec: tidied up after ten intervals", wait_for("the end", lambda: name(p.pid) not in files(d), 6))
    check("exec: the process lives", p.poll() is None)
    p.kill()
    # A stop is not an end before ten intervals.
    p = run(d, *BUSY)
    has(d, p.pid)
    p.send_signal(signal.SIGSTOP)
    time.sleep(1)
    check("stop: it stays", name(p.pid) in files(d))
    grow_old(d, p.pid)
    check("stop: it goes in the end", wait_for("the end", lambda: name(p.pid) not in files(d), 6))
    p.send_signal(signal.SIGCONT)
    check("cont: it comes back", has(d, p.pid))
    end(p)
    end(other)


def test_keep():
    d = folder()
    p = run(d, *BUSY, INTERVAL="200ms", KEEP="1")
    has(d, p.pid)
    end(p)
    check("keep: it stays", name(p.pid) in files(d))
    os.utime(f"{d}/{name(p.pid)}", (1, 1))
    other = run(d, *BUSY)
    has(d, other.pid)
    time.sleep(1)
    check("keep: nobody removes it", name(p.pid) in files(d))
    check("keep: it is well-formed", parse(read(f"{d}/{name(p.pid)}")))
    end(other)


def test_keep_short_lives():
    """A job that ends before it is scraped, however small and short it was."""
    def left(*words):
        d = folder()
        p = start(words, env=preloaded(d, KEEP="1"), stdout=subprocess.DEVNULL)
        check(f"keep: {words[0]} ends well", p.wait(20) == 0)
        return p.pid, {f: read(f"{d}/{f}") for f in files(d)}

    for words in ["ls", "/"], ["sleep", "0.01"], ["perl", "-e", "1"], [sys.executable, "-c", "pass"]:
        pid, texts = left(*words)
        text = texts.get(name(pid), "")
        check(f"keep: {words[0]} has its file", list(texts) == [name(pid)], texts.keys())
        check(f"keep: {words[0]}: it is whole", f'comm="{os.path.basename(words[0])}' in text and "keep=1" in text.split("\n")[0] and
              any(key.startswith("tidepool_pool_created_total") for key, *_ in parse(text)), text[:300])
    # bash runs the first one as a child of its own, and becomes the second.
    pid, texts = left("bash", "-c", "ls /; exec cat /dev/null")
    comms = sorted(re.search('comm="([a-z]*)"', text)[1] for text in texts.values())
    check("keep: helpers have files of their own", comms == ["cat", "ls"], texts.keys())
    check("keep: the next program has the file", 'comm="cat"' in texts.get(name(pid), ""), texts.keys())
    pid, texts = left("bash", "-c", "(:) & wait; true; exit")
    check("keep: a child that was forked has its own", len(texts) == 2 and name(pid) in texts, texts.keys())
    pid, texts = left(sys.executable, "-c", "import os; os._exit(0)")
    check("keep: _exit() leaves none", texts == {}, texts.keys())
    d = folder()
    p = run(d, "vfork", "exit", KEEP="1")
    check("keep: a child that borrows memory has none", files(d) == [], files(d))
    end(p)
    p = run(folder(), "vfork", INTERVAL="1s")
    wait_for("the child's end", lambda: tasks(p.pid) == 2, 2)
    check("such a child does not end its parent's thread", tasks(p.pid) == 2, tasks(p.pid))
    end(p)


def test_who_is_judged_how():
    d = folder()
    me = os.getpid()
    stat = read("/proc/self/stat")
    mine = int(stat[stat.rindex(")") + 2:].split()[19])
    boot = read("/proc/sys/kernel/random/boot_id").strip()
    pidns = os.stat("/proc/self/ns/pid").st_ino
    nobody = int(read("/proc/sys/kernel/pid_max")) + 5
    long_ago = time.time() - 3600

    def craft(file, pid, start, boot=boot, pidns=pidns, interval=1000, keep=0, age=0, head="# tidepool"):
        with open(f"{d}/{file}", "w") as f:
            f.write(f"{head} pid={pid} start={start} boot={boot} pidns={pidns} interval_ms={interval} keep={keep}\n")
        os.utime(f"{d}/{file}", (time.time() - age,) * 2)
        return file

    suffix = "" if pidns == 4026531836 else f"-{pidns}"
    goes = {
        "nobody's": craft(f"tidepool-{nobody}{suffix}.prom", nobody, 1),
        "nobody's, half written": craft(f"tidepool-{nobody + 1}{suffix}.prom.tmp", nobody + 1, 1),
        "of a pid used again": craft(f"tidepool-1{suffix}.prom", 1, 12345678, age=60, interval=900000),
        "from elsewhere, old": craft(f"tidepool-7-4026000001.prom", 7, 1, pidns=4026000001, age=31),
        "of an earlier boot, old": craft(f"tidepool-2{suffix}.prom", 2, 1, boot="x", age=31),
    }
    empty = f"tidepool-{nobody + 2}{suffix}.prom.tmp"
    open(f"{d}/{empty}", "w").close()
    goes["nobody's, empty"] = empty
    stays = {
        "mine, with a long interval": craft(f"tidepool-{me}{suffix}.prom", me, mine, age=3600, interval=900000),
        "nobody's, kept": craft(f"tidepool-{nobody + 3}{suffix}.prom", nobody + 3, 1, keep=1, age=3600),
        "from elsewhere, not so old": craft(f"tidepool-8-4026000001.prom", 8, 1, pidns=4026000001, age=25),
        "from elsewhere, with a long interval": craft(f"tidepool-9-4026000001.prom", 9, 1, pidns=4026000001, age=99, interval=15000),
        "of an earlier boot or another machine, not so old":
            craft(f"tidepool-{nobody + 4}{suffix}.prom", nobody + 4, 1, boot="x", age=25),
        "not ours": craft(f"tidepool-{nobody + 5}{suffix}.prom", nobody + 5, 1, head="# hello"),
        "of another name": craft("other.prom", nobody, 1, age=3600),
        "of almost our name": craft(f"tidepool-0{nobody}.prom", nobody, 1, age=3600),
    }
    os.mkfifo(f"{d}/tidepool-{nobody + 6}{suffix}.prom")
    os.symlink("/etc/passwd", f"{d}/tidepool-{nobody + 7}{suffix}.prom")
    os.mkdir(f"{d}/tidepool-{nobody + 8}{suffix}.prom")
    p = run(d, *BUSY, INTERVAL="1s")
    has(d, p.pid)
    time.sleep(0.3)
    left = os.listdir(d)
    for what, file in goes.items():
        check(f"judged: {what}: goes", file not in left)
    for what, file in stays.items():
        check(f"judged: {what}: stays", file in left)
    check("judged: what is no file stays", sum(f"tidepool-{nobody + n}{suffix}.prom" in left for n in (6, 7, 8)) == 3, left)
    end(p)


def test_containers():
    """Two processes 1 of the same name in one folder."""
    d = folder()
    prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run(prefix + ["true"], capture_output=True).returncode:
        return skip("pid namespaces", "unshare is refused")
    url = node_exporter(d)
    inside = [run(d, *BUSY, prefix=["env", "-u", "LD_PRELOAD"] + prefix + ["env", "LD_PRELOAD=" + LIB]) for _ in range(2)]
    check("containers: both are process 1", [p.said_pid for p in inside] == [1, 1])
    check("containers: two files", wait_for("both", lambda: len(files(d)) == 2, 8), files(d))
    outside = run(d, *BUSY)
    has(d, outside.pid)
    time.sleep(1)
    check("containers: all stay", len(files(d)) == 3, files(d))
    text = fetch(url).decode()
    infos = [line for line in text.split("\n") if line.startswith("tidepool_build_info{")]
    check("containers: no series is lost", len(infos) == 3 and
          sum('pid="1"' in line and "pidns=" in line for line in infos) == 2, infos)
    # --kill-child: the process 1 goes with its unshare.
    inside[0].kill()
    inside[0].wait(10)
    for f in files(d):
        os.utime(f"{d}/{f}", (time.time() - 31,) * 2)  # the living write anew
    check("containers: after ten intervals others tidy up",
          wait_for("the end", lambda: len(files(d)) == 2, 8), files(d))
    end(inside[1])
    end(outside)
    # A namespace that sees its parent's /proc must not take others for dead.
    outside = run(d, *BUSY)
    has(d, outside.pid)
    p = run(d, *BUSY, prefix=["env", "-u", "LD_PRELOAD", *prefix[:-1], "env", "LD_PRELOAD=" + LIB])
    check("a foreign /proc: both write", wait_for("both", lambda: len(files(d)) == 2, 8), files(d))
    time.sleep(1)
    check("a foreign /proc: both stay", len(files(d)) == 2, files(d))
    end(p)
    end(outside)


def test_exits_in_a_write():
    """exit() while the thread writes, from many processes at once: no file is left, none is broken."""
    d = folder()
    for _ in range(10):
        crowd = [run(d, *BUSY, INTERVAL="100ms") for _ in range(8)]
        time.sleep(0.12)
        for p in crowd:
            tell(p, "exit")
        check("exit in a write", {p.wait(10) for p in crowd} == {0})
    check("exit in a write: nothing is left", [f for f in os.listdir(d) if f.startswith("tidepool")] == [], os.listdir(d))


for test in (test_short_lives, test_long_lives, test_fork, test_ends_without_exit, test_keep, test_keep_short_lives, test_who_is_judged_how,
             test_containers, test_exits_in_a_write):
    test()
finish("life")
