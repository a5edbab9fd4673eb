"""A real node_exporter and a real Prometheus on loopback ports, for one test; and its small tools.

Everything started here is ended here, whatever happens. Nothing waits for ever.
"""
import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

BUILD = os.environ["B"]
LIB = BUILD + "/libtidepool.so"
PROGRAM = BUILD + "/tests/export/"

started = []
work = tempfile.mkdtemp(prefix="tidepool-export.")


def clean_up():
    for p in started:
        if p.poll() is None:
            p.send_signal(signal.SIGCONT)
            p.kill()
    for p in started:
        p.wait(10)
    shutil.rmtree(work, ignore_errors=True)


atexit.register(clean_up)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

counts = {"passed": 0, "failed": 0}


def check(what, ok, detail=""):
    counts["passed" if ok else "failed"] += 1
    if not ok:
        print(f"FAILED: {what}: {detail}"[:2000], flush=True)
    return ok


def skip(what, why):
    counts["skipped"] = counts.get("skipped", 0) + 1
    print(f"SKIPPED: {what}: {why}", flush=True)


def finish(name):
    print(f"{name}: {counts['passed']} passed, {counts['failed']} failed, {counts.get('skipped', 0)} skipped")
    sys.exit(counts["failed"] > 0 or counts["passed"] == 0)


def folder(name="prom"):
    path = tempfile.mkdtemp(prefix=name + ".", dir=work)
    os.chmod(path, 0o755)
    return path


os.chmod(work, 0o755)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def redis_server():
    """Debian keeps the server's program in redis-tools, too; it behaves as the name that it is called by."""
    program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    link = work + "/redis-server"
    if not os.path.islink(link):
        os.symlink(program, link)
    return link


def start(args, **kw):
    p = subprocess.Popen(args, **kw)
    started.append(p)
    return p


def preloaded(prom_dir, **settings):
    """The environment of a program under the library; INTERVAL="1s" is TIDEPOOL_PROM_INTERVAL."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEPOOL_")}
    env.update(LD_PRELOAD=LIB, TIDEPOOL_PROM_DIR=prom_dir)
    for key, value in settings.items():
        env["TIDEPOOL_" + {"INTERVAL": "PROM_INTERVAL", "KEEP": "PROM_KEEP"}.get(key, key)] = value
    return env


def wait_for(what, test, seconds=20):
    """Polls until test() is true; its result, or None."""
    # By polls, not by the clock: a machine that stood still meanwhile has used up one of them.
    for _ in range(int(seconds / 0.05)):
        result = test()
        if result:
            return result
        time.sleep(0.05)
    result = test()
    if not result:
        print(f"waited {seconds} s in vain: {what}", flush=True)
    return result


def fetch(url, seconds=10):
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return answer.read()


def answers(url):
    try:
        return fetch(url) is not None
    except OSError:
        return False


def node_exporter(directory):
    """The URL of one that reads this folder."""
    url = f"http://127.0.0.1:{free_port()}/metrics"
    start(["prometheus-node-exporter", "--web.listen-address=" + url.split("/")[2],
           "--collector.disable-defaults", "--collector.textfile",
           "--collector.textfile.directory=" + directory],
          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("node_exporter", lambda: answers(url))
    return url


class Prometheus:
    def __init__(self, target):
        home = folder("prometheus")
        config = home + "/prometheus.yml"
        with open(config, "w") as f:
            f.write("global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
                    "scrape_configs:\n- job_name: node\n  static_configs:\n"
                    f"  - targets: ['{target.split('/')[2]}']\n")
        self.url = f"http://127.0.0.1:{free_port()}"
        start(["prometheus", "--config.file=" + config, "--storage.tsdb.path=" + home + "/data",
               "--web.listen-address=" + self.url.split("/")[2], "--log.level=error"],
              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("Prometheus", lambda: answers(self.url + "/-/ready"), 40)

    def query(self, promql):
        """[(labels, value as text, time of the sample)]"""
        url = self.url + "/api/v1/query?" + urllib.parse.urlencode({"query": promql})
        result = json.loads(fetch(url))["data"]["result"]
        return [(r["metric"], r["value"][1], float(r["value"][0])) for r in result]

    def wait_for_scrape(self):
        """Until everything that is in the folder now has been scraped."""
        now = time.time()

        def scraped():
            sample = self.query('timestamp(up{job="node"})')
            return sample and float(sample[0][1]) > now

        return wait_for("a scrape", scraped)


SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\} (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse(text):
    """{(name, frozenset of labels): value} of a text file, which must be well-formed."""
    series = {}
    assert text.endswith("\n"), "no newline at the end"
    for line in text[:-1].split("\n"):
        if line.startswith("#"):
            continue
        match = SERIES.match(line)
        assert match, "malformed: " + line
        labels = {k: re.sub(r'\\["\\n]', lambda m: UNESCAPED[m[0]], v)
                  for k, v in LABEL.findall(match[2])}
        key = (match[1], frozenset(labels.items()))
        assert key not in series, "twice: " + line
        series[key] = float(match[3])
    return series


def value(series, name, **labels):
    """The one series of that name with these labels; None where there is none."""
    found = [v for (n, l), v in series.items() if n == name and set(labels.items()) <= l]
    assert len(found) < 2, f"{name}{labels}: {found}"
    return found[0] if found else None


def files(directory):
    return sorted(f for f in os.listdir(directory) if f.endswith(".prom"))


def read(path):
    """A whole file; None where there is none."""
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return None
