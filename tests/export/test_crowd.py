"""200 processes write while node_exporter is scraped 500 times: no error, no series missing, none
too many. Then half of them are killed: one interval later, once another has written, their files
are gone."""
import os
import re
import signal
import subprocess
import sys
import time

from stack import *

PROCESSES = int(os.environ.get("CROWD", 200))
SCRAPES = int(os.environ.get("SCRAPES", 500))
INTERVAL_S = 1.0


def main():
    directory = folder()
    url = node_exporter(directory)
    # They take and free a block each 50 ms, and write more often than anyone would have them. One in
    # eight has all families, the others few, which saves node_exporter's time and shows that files
    # need not be alike.
    few = preloaded(directory, INTERVAL="400ms", BUCKETS="4K:10", WATCHDOG="off")
    full = preloaded(directory, INTERVAL="1s")
    crowd = [start([PROGRAM + "known", "thread", "busy"], env=few if i % 8 else full,
                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=sys.stderr)
             for i in range(PROCESSES)]
    pids = {p.pid for p in crowd}
    wait_for("all files", lambda: len(files(directory)) == PROCESSES, 40)
    check("crowd: a file each", len(files(directory)) == PROCESSES, len(files(directory)))
    series = sum(len(parse(read(f"{directory}/{f}"))) for f in files(directory))

    errors = missing = 0
    begin = time.monotonic()
    for _ in range(SCRAPES):
        text = fetch(url, 30)
        errors += b"\nnode_textfile_scrape_error 0\n" not in text
        if text.count(b"\ntidepool_") != series:
            missing += 1
            if missing == 1:
                got = text.count(b"\ntidepool_")
                print(f"{got} series of {series}")
    print(f"crowd: {SCRAPES} scrapes of {series} series in {time.monotonic() - begin:.1f} s")
    check("crowd: no scrape error", not errors, f"{errors} of {SCRAPES}")
    check("crowd: no series missing, none twice", not missing, f"{missing} of {SCRAPES} scrapes")
    seen = set(map(int, re.findall(rb'tidepool_build_info\{comm="known",pid="(\d+)"', text)))
    check("crowd: every process is there", seen == pids, len(seen & pids))
    for f in files(directory):
        mode = os.stat(f"{directory}/{f}").st_mode & 0o777
        if not check("crowd: mode 0644", mode == 0o644, f"{f} {mode:o}"):
            break

    dead, living = crowd[::2], crowd[1::2]
    for p in dead:
        p.kill()
    # Half of those have been waited for, the others are zombies.
    for p in dead[::2]:
        p.wait(10)
    time.sleep(INTERVAL_S)
    # Once another has written: each of the living does within an interval and a tick.
    times = {p.pid: os.stat(f"{directory}/tidepool-{p.pid}.prom").st_mtime_ns for p in living}

    def one_has_written():
        return any(os.stat(f"{directory}/tidepool-{pid}.prom").st_mtime_ns != t for pid, t in times.items())

    wait_for("a write", one_has_written)
    time.sleep(0.2)  # for it to finish tidying up
    left = [p.pid for p in dead if f"tidepool-{p.pid}.prom" in files(directory)]
    check("crowd: no file of the dead after an interval", not left, f"{len(left)} of {len(dead)}")
    check("crowd: all files of the living", len(files(directory)) == len(living), len(files(directory)))
    for p in living:
        p.stdin.close()
    codes = {p.wait(20) for p in living}
    check("crowd: they end well", codes == {0}, codes)
    check("crowd: nothing is left but the mark", os.listdir(directory) == [f".tidepool-{os.geteuid()}.reaped"],
          os.listdir(directory))
    finish("crowd")


main()
