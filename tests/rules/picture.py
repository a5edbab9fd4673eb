"""The dashboard's queries over a real run, drawn in its layout as SVG: what Grafana would show, without Grafana.

Two JSON services (tests/demo: gunicorn with four processes) run under tidepool in memory cgroups, one too small for
waste and one with room. node_exporter and Prometheus are Debian's; the rules' times are shortened to seconds as in
test_rules.py. A panel without data is an error.

    B=$PWD/build/release python3 -B tests/rules/picture.py OUT [SECONDS]
"""
import json
import math
import os
import re
import sys
import tempfile
import time
from html import escape

sys.path += [f"{os.path.dirname(os.path.abspath(__file__))}/../{folder}" for folder in ("demo", "survival")]
import service  # noqa: E402
from stack import Stack  # noqa: E402
from test_rules import DASHBOARD, LIB, RANGE, panels, shortened_rules  # noqa: E402

SERVICES = {"api": 140, "batch": 800}  # name -> MiB
ROWS = 21  # of Grafana's grid: the figures on top, and the first four charts
UNIT_X, UNIT_Y, HEAD = 36, 21, 22
COLOURS = ["#1f7a6d", "#e0883e", "#5b7fb9", "#b0413e", "#8a6fb0", "#9aa5b1"]
SIZES = ("", "Ki", "Mi", "Gi")


def shown(value, unit):
    """A value as Grafana writes it in this unit."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit in ("bytes", "Bps"):
        power = min(len(SIZES) - 1, int(math.log(max(abs(value), 1), 1024)))
        value /= 1024 ** power
        return f"{value:.{0 if value >= 100 else 3}{'f' if value >= 100 else 'g'}} {SIZES[power]}B" + ("/s" if unit == "Bps" else "")
    return f"{value:.3g}" + {"reqps": "/s", "ops": "/s", "s": " s"}.get(unit, "")


def series(stack, panel, begin, end):
    """[(legend, [(time, value)])] of all its queries."""
    found = []
    for target in panel["targets"]:
        e = re.sub(r"\$(service|instance)\b", ".*", target["expr"].replace("$__rate_interval", RANGE))
        for r in stack.get("query_range", query=e, start=begin, end=end, step=1)["result"]:
            points = [(float(t), float(v)) for t, v in r["values"] if math.isfinite(float(v))]
            legend = re.sub(r"\{\{(\w+)\}\}", lambda m, r=r: r["metric"].get(m[1], ""), target["legendFormat"])
            if points:
                found.append((legend, points))
    if not found:
        sys.exit(f"picture: no data for the panel '{panel['title']}'")
    return found


def frame(panel):
    g = panel["gridPos"]
    return g["x"] * UNIT_X + 4, (g["y"] - 1) * UNIT_Y + HEAD + 3, g["w"] * UNIT_X - 8, g["h"] * UNIT_Y - 6


def draw_stat(panel, found, unit):
    x, y, w, h = frame(panel)
    return (f'<text x="{x + w / 2:g}" y="{y + h / 2 + 18:g}" font-size="20" text-anchor="middle" fill="{COLOURS[0]}">'
            f'{escape(shown(found[0][1][-1][1], unit))}</text>')


def rounded_up(value, unit):
    """The next 1, 2, 2.5 or 5 times a power of ten, of its unit."""
    one = 1024 ** int(math.log(max(value, 1), 1024)) if unit in ("bytes", "Bps") else 1
    power = one * 10 ** math.floor(math.log10(value / one)) if value > 0 else 1
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= value)


def draw_chart(panel, found, unit, begin, end):
    x, y, w, h = frame(panel)
    left, top, right, bottom = x + 52, y + 24, x + w - 8, y + h - 22
    peak = rounded_up(max(v for _, points in found for _, v in points), unit)
    out = []
    for part in (0, 0.5, 1):
        at = bottom - part * (bottom - top)
        out.append(f'<path d="M{left} {at:g}H{right}" class="g"/><text x="{left - 4}" y="{at + 3:g}" text-anchor="end">'
                   f'{escape(shown(peak * part, unit))}</text>')
    across = left
    for i, (legend, points) in enumerate(found):
        colour = COLOURS[i % len(COLOURS)]
        path, before = "", -math.inf
        for t, v in points:
            # A second without a value is a gap, as in Grafana.
            path += "L" if t - before < 1.5 else "M"
            path += f"{left + (t - begin) / (end - begin) * (right - left):.0f} {bottom - v / peak * (bottom - top):.0f}"
            before = t
        out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.3" stroke-linecap="round"/>'
                   f'<path d="M{across:g} {y + h - 9}h10" stroke="{colour}" stroke-width="3"/>'
                   f'<text x="{across + 13:g}" y="{y + h - 6}">{escape(legend)}</text>')
        across += 20 + 4.7 * len(legend)
    return "".join(out)


def draw(stack, dashboard, begin, end):
    height = (ROWS - 1) * UNIT_Y + HEAD + 4
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{24 * UNIT_X}" height="{height}" font-family="sans-serif" '
           'font-size="9"><style>.p{fill:#fff;stroke:#ccd2d8}.g{stroke:#e4e8ec}</style>'
           '<rect width="100%" height="100%" fill="#f4f6f8"/><text x="8" y="15" font-size="11">'
           f'Queries of {DASHBOARD} over {end - begin:.0f} s of two gunicorn services: '
           f'{escape(", ".join(f"{name} in {mib} MiB" for name, mib in SERVICES.items()))}</text>']
    for p in panels(dashboard):
        if p["gridPos"]["y"] >= ROWS:
            continue
        x, y, w, h = frame(p)
        unit = p["fieldConfig"]["defaults"].get("unit", "short")
        found = series(stack, p, begin, end)
        out.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="2" class="p"/>'
                   f'<text x="{x + 6}" y="{y + 14}" font-weight="bold">{escape(p["title"])}</text>'
                   + (draw_stat(p, found, unit) if p["type"] == "stat" else draw_chart(p, found, unit, begin, end)))
    return "".join(out) + "</svg>\n"


def run(folder, out, seconds):
    text_folder = f"{folder}/text"
    os.mkdir(text_folder)
    shortened_rules(f"{folder}/rules.yml")
    running, stack = [], None
    try:
        for name, mib in SERVICES.items():
            env = {"LD_PRELOAD": LIB, "TIDEPOOL_PROM_DIR": text_folder, "TIDEPOOL_PROM_INTERVAL": "1s",
                   "TIDEPOOL_LABELS": f"service={name}"}
            running.append(service.Service(name, env, "cgroup", mib << 20))
            running[-1].start(f"{folder}/{name}.log")
        stack = Stack(folder, text_folder, f"{folder}/rules.yml")
        stack.wait()
        bodies = service.make_bodies()
        for one in running:
            if not one.comes_up():
                sys.exit(f"picture: {one.name} did not start: {open(f'{folder}/{one.name}.log').read()[-500:]}")
            one.ask(bodies)
        time.sleep(15)  # What is summed up over 10 s has its first values.
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        with open(DASHBOARD) as f:
            picture = draw(stack, json.load(f), begin, end)
        for one in running:
            one.end()
            print(f"{one.name}: {one.served} requests served, {one.lost} lost, {one.kills} OOM kills")
        with open(out, "w", encoding="utf-8") as f:
            f.write(picture)
        print(f"{out}: {len(picture) >> 10} KB")
    finally:
        for one in running:
            one.end()
            one.clean_up()
        if stack:
            stack.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tidepool-picture-") as scratch:
        os.chmod(scratch, 0o755)
        run(scratch, sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60)
