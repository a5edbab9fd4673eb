"""From a process to PromQL: each series of each family, for redis and for a program whose numbers
are known, against what the process says of itself."""
import os
import re
import signal
import subprocess
import time

from stack import *

FAMILIES = re.compile(r"^# TYPE (\S+) (\S+)$", re.M)


def promtool_is_content(text):
    p = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True)
    return check("promtool check metrics", p.returncode == 0 and not p.stderr,
                 (p.stdout + p.stderr).decode())


def compare_with_prometheus(prometheus, text, who):
    """Every series of the file is what PromQL returns, and there is no other."""
    want = parse(text)
    pid = re.search(r'pid="(\d+)"', text)[1]
    got = {}
    for labels, number, _ in prometheus.query('{__name__=~"tidepool_.*",pid="%s"}' % pid):
        name = labels.pop("__name__")
        del labels["instance"], labels["job"]
        got[name, frozenset(labels.items())] = float(number)
    for family, kind in FAMILIES.findall(text):
        names = [family] if kind != "histogram" else [family + s for s in ("_bucket", "_sum", "_count")]
        theirs = {k: v for k, v in got.items() if k[0] in names}
        ours = {k: v for k, v in want.items() if k[0] in names}
        check(f"{who}: {family} through PromQL", ours and ours == theirs,
              f"file {sorted(ours.items())[:3]}, PromQL {sorted(theirs.items())[:3]}")
    check(f"{who}: no other series", len(got) == len(want), f"{len(got)} for {len(want)}")
    return want


def stop_and_read(process, directory):
    """The file of a process, which is stopped so that nothing changes any more."""
    name = f"tidepool-{process.pid}.prom"
    before = wait_for(name, lambda: read(f"{directory}/{name}"))
    # The next one, so that it is of after the last thing that the process did.
    wait_for("the next write", lambda: read(f"{directory}/{name}") != before)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    return read(f"{directory}/{name}")


def adds_up(series, who):
    for (name, labels), n in series.items():
        if name == "tidepool_pool_allocations_total":
            both = value(series, "tidepool_pool_created_total", **dict(labels)) + \
                value(series, "tidepool_pool_reused_total", **dict(labels))
            check(f"{who}: created + reused = allocations", both == n, f"{both} {n}")
        for unit in "blocks", "bytes":
            if name == f"tidepool_pool_held_{unit}":
                both = value(series, f"tidepool_pool_live_{unit}", **dict(labels)) + \
                    value(series, f"tidepool_pool_free_{unit}", **dict(labels))
                check(f"{who}: live + free = held, {unit}", both == n, f"{both} {n}")
        # Nothing was warmed up, so what is held came from jemalloc and did not go back.
        if name == "tidepool_pool_held_blocks":
            came = value(series, "tidepool_pool_created_total", **dict(labels)) - \
                value(series, "tidepool_pool_released_total", **dict(labels))
            check(f"{who}: created - released = held", came == n, f"{came} {n}")


def test_known_program(prometheus, directory):
    p = start([PROGRAM + "known", "thread", "live", "misuse", "free", "reclaim"], text=True,
              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
              env=preloaded(directory, INTERVAL="300ms", CHECK="warn", LIMIT="64M", SOURCE="rss",
                            BUCKETS="1K:0,4K:20,64K:20,256K:2M,1M:20",
                            LABELS='service=api,note="a \\"b\\"\\n\\\\",ort=Köln'))
    check("known: starts", p.stdout.readline() == f"ready {p.pid}\n")
    p.stdin.write("stats\n")
    p.stdin.flush()
    said = [line.split() for line in iter(p.stdout.readline, ".\n")]
    text = stop_and_read(p, directory)
    promtool_is_content(text)
    prometheus.wait_for_scrape()
    series = compare_with_prometheus(prometheus, text, "known")
    adds_up(series, "known")

    for bound, *pairs in said:
        own = dict(zip(pairs[::2], map(float, pairs[1::2])))
        for word, name in (("created", "created_total"), ("reused", "reused_total"),
                           ("freed", "freed_total"), ("live", "live_blocks"),
                           ("live_bytes", "live_bytes"), ("free", "free_blocks"),
                           ("free_bytes", "free_bytes")):
            n = value(series, "tidepool_pool_" + name, bucket=bound)
            check(f"known: {name} of {bound} as tidepool_stats says", n == own[word], f"{n} {own[word]}")
    check("known: all buckets", len(said) == 5, said)

    def expect(name, n, **labels):
        got = value(series, "tidepool_" + name, **labels)
        check(f"known: {name}{labels}", n(got) if callable(n) else got == n, str(got))

    expect("pool_live_blocks", lambda n: n >= 10, bucket="4096")
    # 10 of 3072 bytes for 3000, among others: the estimate knows of the latest requests only.
    expect("pool_slack_bytes", lambda n: 0 < n <= value(series, "tidepool_pool_live_bytes", bucket="4096") / 5,
           bucket="4096")
    expect("pool_limit_blocks", 20, bucket="4096")
    expect("pool_limit_bytes", 2 << 20, bucket="262144")
    expect("pool_limit_blocks", None, bucket="262144")
    expect("pool_drained_blocks_total", lambda n: n > 0, bucket="4096")
    expect("frees_misused_total", 2, kind="double")
    expect("frees_misused_total", 1, kind="invalid")
    expect("memory_reclaims_total", 1, cause="api")
    expect("memory_reclaim_duration_seconds_count", 1)
    expect("memory_reclaim_duration_seconds_bucket", 1, le="+Inf")
    expect("memory_reclaim_duration_seconds_sum", lambda n: 0 < n < 5)
    expect("memory_last_purge_timestamp_seconds", lambda n: time.time() - 60 < n <= time.time())
    expect("memory_limit_bytes", 64 << 20)
    used = value(series, "tidepool_memory_usage_bytes")
    expect("memory_usage_ratio", lambda n: abs(n - used / (64 << 20)) < 1e-6)
    pages = int(read(f"/proc/{p.pid}/statm").split()[1])
    expect("memory_resident_bytes", lambda n: 0.5 < n / (pages * 4096) < 2)
    expect("memory_outside_bytes", lambda n: 0 < n < 4 << 20)
    expect("memory_pressure_level", 0)
    expect("memory_level_seconds_total", lambda n: n > 0, level="normal")
    expect("memory_samples_total", lambda n: n >= 1)
    expect("threads_cached", lambda n: n >= 1)
    expect("pool_max_bytes", (64 << 20) / 8)
    expect("build_info", 1, service="api", note='a "b"\n\\', ort="Köln", comm="known", pid=str(p.pid))
    live = sum(value(series, "tidepool_pool_live_bytes", bucket=said_of[0]) for said_of in said)
    expect("jemalloc_allocated_bytes", lambda n: n >= live > 0)
    expect("jemalloc_resident_bytes",
           lambda n: n >= value(series, "tidepool_jemalloc_active_bytes") > 0)

    p.send_signal(signal.SIGCONT)
    p.stdin.close()
    check("known: ends well", p.wait(10) == 0)
    check("known: its file is gone at exit", not read(f"{directory}/tidepool-{p.pid}.prom"))


def test_level_change(directory):
    """Written at once, however long the interval."""
    p = start([PROGRAM + "known", "grow=110"], text=True, stdin=subprocess.PIPE,
              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
              env=preloaded(directory, INTERVAL="60m", LIMIT="128M"))
    p.stdout.readline()
    path = f"{directory}/tidepool-{p.pid}.prom"

    def level():
        text = read(path)
        return text and value(parse(text), "tidepool_memory_pressure_level")

    check("level: a change is written at once", wait_for("level 2", lambda: level() in (2, 3), 10))
    series = parse(read(path))
    check("level: transitions", value(series, "tidepool_memory_level_transitions_total", level="high") or
          value(series, "tidepool_memory_level_transitions_total", level="critical"))
    p.stdin.close()
    p.wait(10)


def test_redis(prometheus, directory):
    home = folder("redis")
    port = free_port()
    env = preloaded(directory, INTERVAL="500ms", KEEP="1", STATS="exit", LABELS="service=redis")
    err = open(home + "/stderr", "w+")
    p = start([redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", home,
               "--daemonize", "no", "--logfile", home + "/log"], env=env, stderr=err)
    cli = ["redis-cli", "-p", str(port)]
    wait_for("redis", lambda: subprocess.run(cli + ["ping"], capture_output=True).stdout == b"PONG\n")
    subprocess.run(["redis-benchmark", "-p", str(port), "-q", "-n", "20000", "-d", "3000", "-r", "2000",
                    "-t", "set,get"], stdout=subprocess.DEVNULL, timeout=60)
    text = stop_and_read(p, directory)
    promtool_is_content(text)
    prometheus.wait_for_scrape()
    series = compare_with_prometheus(prometheus, text, "redis")
    adds_up(series, "redis")
    check("redis: blocks are live", value(series, "tidepool_pool_live_blocks", bucket="4096") > 1000)
    check("redis: blocks are reused", value(series, "tidepool_pool_reused_total", bucket="4096") > 10000)
    p.send_signal(signal.SIGCONT)
    subprocess.run(cli + ["shutdown", "nosave"], capture_output=True)
    check("redis: ends well", p.wait(20) == 0)

    # What it kept at exit is what it then said on stderr.
    series = parse(read(f"{directory}/tidepool-{p.pid}.prom"))
    err.seek(0)
    said = err.read()
    units = {"K": 1 << 10, "M": 1 << 20}
    buckets = 0
    for bound, unit, rest in re.findall(r"bucket (\d+)([KM]): (.*)", said):
        words = rest.split()
        own = dict(zip(words[::2], words[1::2]))
        buckets += 1
        for word, name in (("created", "created_total"), ("reused", "reused_total"),
                           ("free", "free_blocks"), ("limit", "limit_blocks"),
                           ("live", "live_blocks"), ("live_bytes", "live_bytes")):
            n = value(series, "tidepool_pool_" + name, bucket=str(int(bound) * units[unit]))
            check(f"redis: {name} of {bound}{unit} at exit", n == float(own[word]), f"{n} {own[word]}")
    check("redis: six buckets at exit", buckets == 6, said)
    evaluations = re.search(r"evaluations (\d+)", said)
    check("redis: evaluations at exit", evaluations and value(series, "tidepool_memory_samples_total") == float(evaluations[1]))
    os.remove(f"{directory}/tidepool-{p.pid}.prom")


def main():
    directory = folder()
    exporter = node_exporter(directory)
    prometheus = Prometheus(exporter)
    test_known_program(prometheus, directory)
    test_redis(prometheus, directory)
    test_level_change(directory)
    metrics = fetch(exporter).decode()
    check("node_exporter has nothing to say", "\nnode_textfile_scrape_error 0\n" in metrics)
    finish("values")


main()
