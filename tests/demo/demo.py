"""demo - one JSON service under glibc, jemalloc and tidepool, each in a container too small for waste.

Each service is gunicorn, as Debian has it, with four processes (app.py), in a memory cgroup of its own;
all have the same limit, and all get the same requests at the same time, one after the other: bodies of 1
to 24 MiB. Any process may get any request, so what each keeps after its largest one adds up. A
process that the kernel kills takes its request with it, and gunicorn starts another.

    DEMO_LIMIT_MIB=140 DEMO_RUNS=3 demo.py BUILD

A run takes 15 s. The demo fails when tidepool's service loses a request or a process, or when something
did not run; that the others lose some is shown, and not asked for.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f'{HERE}/../survival')
sys.path.insert(0, HERE)

# pylint: disable=wrong-import-position
import picture
import service
import why

LIMIT_MIB = int(os.environ.get('DEMO_LIMIT_MIB', '140'))
RUNS = int(os.environ.get('DEMO_RUNS', '3'))
RUN_S = 15
LOOK_S, LINE_S = 0.1, 1.0
# No run is started after this, so that a slow machine ends in time, too.
BUDGET_S = 55
BEGIN = time.monotonic()


def allocators():
    """name -> (environment, a word that is in the maps of its processes). jemalloc is shown twice, the
    second time as its manual advises for little memory."""
    tuned = 'background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0'
    return {
        'glibc': ({}, 'libc.so.6'),
        'jemalloc': ({'LD_PRELOAD': 'libjemalloc.so.2'}, 'libjemalloc'),
        'jemalloc, 1 s': ({'LD_PRELOAD': 'libjemalloc.so.2', 'MALLOC_CONF': tuned}, 'libjemalloc'),
        'tidepool': ({'LD_PRELOAD': f'{os.environ["B"]}/libtidepool.so', 'TIDEPOOL_VERBOSE': '2'}, 'libtidepool'),
    }


def say(text):
    print(text, flush=True)


class Run:
    """One round: all allocators at once."""

    def __init__(self):
        self.problems, self.services = [], []

    def start(self, way, folder, number, bodies):
        for name, (env, _) in allocators().items():
            self.services.append(service.Service(name, env, way, LIMIT_MIB << 20))
            self.services[-1].start(f'{folder}/{name.replace(", ", "-").replace(" ", "")}.{number}.log')
        for one in self.services:
            library = allocators()[one.name][1]
            if not one.comes_up():
                sys.exit(f'demo: {one.name}: the service did not start; see {folder}')
            if not one.uses(library):
                self.problems.append(f'{one.name}: its processes do not use {library}; see {folder}')
        for one in self.services:
            one.ask(bodies)

    def watch(self):
        begin = line = time.monotonic()
        while (now := time.monotonic()) < begin + RUN_S:
            usages = [one.look() for one in self.services]
            if now >= line:
                say(f'{now - BEGIN:4.0f} s' + ''.join(_cell(*pair) for pair in zip(self.services, usages)))
                line += LINE_S
            time.sleep(LOOK_S)

    def stop(self):
        for one in self.services:
            one.end()
        for one in self.services:
            if one.name == 'tidepool' and one.kills:
                self.explain(one)
            one.clean_up()

    @staticmethod
    def explain(one):
        say('\ndemo: the kernel says:')
        say('\n'.join(why.kernel_says(os.path.basename(one.cgroup.path or 'none'))))
        say('demo: the last lines of the service before that:')
        say('\n'.join(why.service_said(one.log_path, one.log_bytes_at_kill)))


def _cell(one, usage):
    return f' | {usage >> 20:4d} MiB {one.served:3d} {one.lost:4d} {one.kills:4d}'


def heads():
    names = list(allocators())
    say(' ' * 6 + ''.join(f' | {name:22}' for name in names))
    say(' ' * 6 + ' |   memory  ok lost kill' * len(names))


def table(runs):
    say('')
    say(f'{"":14}{"served":>18}{"lost":>16}{"OOM kills":>16}{"peak MiB":>18}')
    for row in zip(*(run.services for run in runs)):
        cells = (', '.join(str(getattr(one, key)) for one in row) for key in ('served', 'lost', 'kills'))
        peaks = ', '.join(str(one.peak_bytes >> 20) for one in row)
        say(f'{row[0].name:14}' + '{:>18}{:>16}{:>16}'.format(*cells) + f'{peaks:>18}')


def judge(runs, way):
    problems = [text for run in runs for text in run.problems]
    for run in runs:
        for one in run.services:
            if one.name == 'tidepool' and (one.lost or one.kills):
                problems.append(f'tidepool: {one.lost} requests lost, {one.kills} OOM kills')
            if not one.served:
                problems.append(f'{one.name}: nothing was served')
    if way != 'none':
        for row in zip(*(run.services for run in runs)):
            if row[0].name != 'tidepool' and not all(one.kills for one in row):
                say(f'demo: {row[0].name} was not killed in every run here')
    return problems


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = f'{sys.argv[1]}/demo'
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    if not shutil.which('gunicorn'):
        say('SKIPPED demo: no gunicorn here: apt-get install gunicorn')
        return 0
    way, why = service.ways()
    where = f'a limit of {LIMIT_MIB} MiB for each ({way})'
    if way == 'none':
        where = 'no memory limit'
        say(f'demo: NO MEMORY LIMIT, so nothing is killed, and tidepool takes the machine for its limit: {why}')
    version = subprocess.run(['gunicorn', '--version'], capture_output=True, text=True, check=False).stdout
    say(f'{version.strip()}, {service.WORKERS} processes, JSON bodies of 1 to 24 MiB, {where}')
    bodies = service.make_bodies()
    heads()
    runs = []
    while len(runs) < RUNS and (not runs or time.monotonic() - BEGIN < BUDGET_S):
        run = Run()
        try:
            run.start(way, folder, len(runs) + 1, bodies)
            run.watch()
        finally:
            run.stop()
        runs.append(run)
    table(runs)
    with open(f'{folder}/demo.svg', 'w', encoding='utf-8') as f:
        f.write(picture.draw(f'gunicorn, {where}', runs[-1].services, 0 if way == 'none' else LIMIT_MIB << 20))
    say(f'{os.cpu_count()} processors, Linux {os.uname().release}, {len(runs)} run(s) of {RUN_S} s; '
        f'picture: {os.path.relpath(folder)}/demo.svg')
    problems = judge(runs, way)
    for text in problems:
        say(f'demo: PROBLEM: {text}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
