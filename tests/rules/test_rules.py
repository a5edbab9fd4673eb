"""The rules and the dashboard: tested by promtool, and then each of their expressions asked of a real
Prometheus, which scrapes a real node_exporter, which reads what real processes write. Services that are
ill in all the ways there are alerts for run meanwhile, so every expression has to return something. For
that, times are shortened: ranges to 10 s, `for` to nothing.

    B=$PWD/build/release python3 tests/rules/test_rules.py
"""
import glob
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import yaml

from stack import Stack

B = os.environ["B"]
LIB, LOAD = f"{B}/libtidepool.so", f"{B}/tests/rules/load"
RULES, DASHBOARD, FAMILIES = "export/prometheus/rules.yml", "export/grafana/tidepool.json", "export/families.c"
UNIT = sorted(glob.glob("tests/rules/*_test.yml"))
RANGE = "10s"
PATIENCE_S = 60
counts = {"passed": 0, "failed": 0}


def check(what, ok, why=""):
    counts["passed" if ok else "failed"] += 1
    if not ok:
        print(f"  FAILED  {what}: {why}", flush=True)


def rules():
    with open(RULES) as f:
        return [r for g in yaml.safe_load(f)["groups"] for r in g["rules"]]


def panels(dashboard):
    return [p for p in dashboard["panels"] if p["type"] != "row"]


def check_with_promtool():
    for command in (["check", "rules", "--lint=all", "--lint-fatal", RULES], ["test", "rules", *UNIT]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        check("promtool " + " ".join(command[:2]), done.returncode == 0, done.stdout + done.stderr)
    told = "".join(open(u).read() for u in UNIT)
    for r in rules():
        name = r.get("record") or r["alert"]
        check(f"{name} is tested", re.search(rf"(expr|alertname): {re.escape(name)}\b", told), "by no *_test.yml")


def overlap(a, b):
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def check_dashboard(dashboard):
    """What Grafana would silently set right, or not show."""
    all_panels = dashboard["panels"]
    ids = [p["id"] for p in all_panels]
    check("panels have ids of their own", len(ids) == len(set(ids)), ids)
    for i, p in enumerate(all_panels):
        grid = p["gridPos"]
        check(f"{p['title']} is on the grid", grid["x"] + grid["w"] <= 24 and grid["h"] > 0, grid)
        for q in all_panels[:i]:
            check(f"{p['title']} beside {q['title']}", not overlap(grid, q["gridPos"]), (grid, q["gridPos"]))
    defined = {v["name"] for v in dashboard["templating"]["list"]} | {"__rate_interval"}
    for p in panels(dashboard):
        check(f"{p['title']} has expressions", p["targets"] and all(t["expr"] for t in p["targets"]))
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(p)))
        check(f"{p['title']} uses variables that exist", used <= defined, used - defined)
        check(f"{p['title']} asks the chosen source", p["datasource"]["uid"] == "${datasource}")


def check_names(dashboard):
    """What is asked for is told, or recorded: a family that was renamed is found without a server, too."""
    with open(FAMILIES) as f:
        told = {name + suffix for name, kind in re.findall(r'{"(tidepool_\w+)", (GAUGE|COUNTER|HISTOGRAM)', f.read())
                for suffix in (("_bucket", "_sum", "_count") if kind == "HISTOGRAM" else ("",))}
    recorded = {r["record"] for r in rules() if "record" in r}
    asked = [r["expr"] for r in rules()] + [e for _, e in expressions(dashboard) if not e.startswith("ALERTS")]
    for e in asked:
        names = set(re.findall(r"[\w:]*tidepool_[\w:]+", re.sub(r'"[^"]*"', "", e)))
        check(f"{e} asks for what there is", names <= told | recorded, names - told - recorded)


def start(kind, service, folder, **settings):
    env = {"LD_PRELOAD": LIB, "TIDEPOOL_PROM_DIR": folder, "TIDEPOOL_PROM_INTERVAL": "500ms",
           "TIDEPOOL_WATCH_MIN": "1M", "TIDEPOOL_INTERVAL": "200ms", "TIDEPOOL_LIMIT": "1G",
           "PATH": os.environ["PATH"], **settings}
    if service:
        env["TIDEPOOL_LABELS"] = f"service={service}"
    return subprocess.Popen([LOAD, kind], env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


def start_services(folder):
    """The last two are for being stopped: now and then, and for good."""
    return [start("steady", "well", folder), start("steady", None, folder),
            start("full", "full", folder, TIDEPOOL_LIMIT="64M", TIDEPOOL_ON_LIMIT="enomem:1M",
                  TIDEPOOL_COOLDOWN="100ms"),
            start("files", "files", folder, TIDEPOOL_MFILE="load=sequential", TIDEPOOL_SAMPLE="16K"),
            start("leak", "leaky", folder), start("misuse", "wrong", folder, TIDEPOOL_CHECK="warn"),
            start("steady", "late", folder), start("steady", "stuck", folder)]


def shortened_rules(path):
    with open(RULES) as f:
        text = f.read()
    text = re.sub(r"\[\d+[smh]\]", f"[{RANGE}]", text)
    text = re.sub(r"for: \w+", "for: 0s", text)
    text = re.sub(r"interval: 1m", "interval: 1s", text)
    text, n = re.subn(r"> 300\)", "> 2)", text)
    assert n == 1
    with open(path, "w") as f:
        f.write(text)


def has_data(stack, expression):
    try:
        return any(not math.isnan(v) for _, v in stack.query(expression))
    except AssertionError as e:
        print(e)
        return False


def expressions(dashboard):
    """All that has to return something: (what, expression)."""
    for r in rules():
        if "record" in r:
            yield f"recorded {r['record']}", r["record"]
        else:
            # Alerts are asked of Prometheus as it evaluated them.
            yield f"alert {r['alert']}", f'ALERTS{{alertname="{r["alert"]}",alertstate="firing"}}'
    for p in panels(dashboard):
        for t in p["targets"]:
            e = t["expr"].replace("$__rate_interval", RANGE)
            yield f"panel {p['title']} {t['refId']}", re.sub(r"\$(service|instance)\b", ".*", e)
    for v in dashboard["templating"]["list"]:
        m = re.fullmatch(r"label_values\((.*), (\w+)\)", v.get("definition", ""))
        if m:
            e = re.sub(r"\$(service|instance)\b", ".*", m.group(1))
            yield f"variable {v['name']}", f'count by ({m.group(2)}) ({e})'
    for a in dashboard["annotations"]["list"]:
        yield f"annotation {a['name']}", a["expr"]


def ask_everything(stack, dashboard, late):
    """Until all have answered, or time is up. Meanwhile one service gets no processor now and then."""
    missing = dict(expressions(dashboard))
    until = time.monotonic() + PATIENCE_S
    while missing and time.monotonic() < until:
        late.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        late.send_signal(signal.SIGCONT)
        time.sleep(0.4)
        for what, e in list(missing.items()):
            if has_data(stack, e):
                del missing[what]
    for what, e in dict(expressions(dashboard)).items():
        check(what, what not in missing, f"no data: {e}")


def check_cardinality(stack):
    """What is recorded has none of a process's labels, and the service without one is there."""
    for r in rules():
        if "record" not in r:
            continue
        labels = {name for metric, _ in stack.query(r["record"]) for name in metric}
        extra = labels - {"__name__", "service", "version", "level", "bucket", "cause", "le"}
        check(f"{r['record']} is summed up", not extra, extra)
    services = {m.get("service", "") for m, _ in stack.query("service:tidepool_processes:count")}
    # The file of the stuck one may be gone by now: its neighbours remove what is ten intervals old.
    check("services", services | {"stuck"} == {"well", "", "full", "files", "leaky", "wrong", "late", "stuck"}, services)
    firing = {m["service"] for m, _ in stack.query('ALERTS{service="well"}')}
    check("the one that is well has no alert", not firing, stack.query('ALERTS{service="well"}'))


def run_live(dashboard, folder):
    text_folder = f"{folder}/text"
    os.mkdir(text_folder)
    shortened_rules(f"{folder}/rules.yml")
    services = start_services(text_folder)
    stack = Stack(folder, text_folder, f"{folder}/rules.yml")
    try:
        stack.wait()
        time.sleep(3)
        services[-1].send_signal(signal.SIGSTOP)
        # Written by another program: the whole file is refused, and tidepool's are none the worse.
        with open(f"{text_folder}/other.prom", "w") as f:
            f.write("this is no sample")
        ask_everything(stack, dashboard, services[-2])
        check_cardinality(stack)
        lived = [s.poll() for s in services]
        check("the services live", lived == [None] * len(services), lived)
    finally:
        for s in services:
            s.kill()
            s.wait()
        stack.stop()
        if counts["failed"]:
            print(stack.log.name, open(stack.log.name).read()[-2000:])


def main():
    with open(DASHBOARD) as f:
        dashboard = json.load(f)
    check_with_promtool()
    check_dashboard(dashboard)
    check_names(dashboard)
    folder = tempfile.mkdtemp(prefix="tidepool-rules-")
    try:
        run_live(dashboard, folder)
    finally:
        shutil.rmtree(folder)
    print("{passed} passed, {failed} failed, 0 skipped".format(**counts))
    return counts["failed"] or not counts["passed"]


if __name__ == "__main__":
    sys.exit(bool(main()))
