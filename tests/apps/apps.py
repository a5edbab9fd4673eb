"""apps - real services at real load inside a real cgroup, each under several allocators.

    APPS='redis node' ALLOCS='glibc tidepool' apps.py RESULTS.tsv [short]

A row is one service under one allocator. It is filled by three kinds of runs, each a new server in a
new cgroup:
  free   no limit: requests a second, 99th percentile (ms), memory. Memory is what is charged, without
         page cache that no process maps, looked at every 50 ms: `steady` is the median of the load's second
         half, `peak` the largest, `after` what is left REST_S after the load, while other rows are measured.
  tight  limit 1.1 times the smallest peak of all allocators: requests a second as a ratio to glibc without
         a limit, or `killed`.
  limit  bisection to 3 % of the peak for the smallest limit under which the load ends with nothing killed
         and no request lost.
`short` leaves out the last kind, and takes fewer services and allocators, and less time. Rows of other services and
allocators stay in the file; samples lie beside it, a file a run.
"""

import concurrent.futures
import os
import statistics
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f'{HERE}/../survival')

# pylint: disable=wrong-import-position
import catalog
import cgroup
import service
import services
import table as results_table

MIB = 1 << 20
CAREFUL = 'background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0'
ALLOCATORS = {
    'glibc': catalog.ALLOCATORS['glibc'],
    'jemalloc': catalog.ALLOCATORS['jemalloc'],
    'jemalloc-1s': (catalog.ALLOCATORS['jemalloc'][0], {'MALLOC_CONF': CAREFUL}),
    'mimalloc': catalog.ALLOCATORS['mimalloc'],
    'tcmalloc': catalog.ALLOCATORS['tcmalloc'],
    'tidepool': catalog.ALLOCATORS['tidepool'],
}
SHORT = 'short' in sys.argv[2:]
LOAD_S, REST_S = (3, 5) if SHORT else (10, 30)
SHORT_ALLOCATORS = ['glibc', 'jemalloc-1s', 'tidepool']
SHORT_APPS = ['redis', 'nginx', 'node', 'gunicorn', 'postgres', 'mariadb']
LIMIT_STEP = 0.03
BEGIN = time.monotonic()


def say(text):
    print(f'{time.monotonic() - BEGIN:5.0f} s  {text}', flush=True)


class Watch(threading.Thread):
    """Looks at a cgroup's memory every 50 ms, until end()."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.samples = group, []
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            self.samples.append((time.monotonic(), memory(self.group)))

    def end(self):
        self.over.set()
        self.join()


def memory(group):
    """Bytes charged, without the page cache that no process maps."""
    v1 = group.version == 1
    stat = dict(line.split() for line in group.read('memory.stat').splitlines())
    names = ('total_cache', 'total_mapped_file', 'total_shmem') if v1 else ('file', 'file_mapped', 'shmem')
    cache, mapped, shmem = (int(stat.get(name, 0)) for name in names)
    usage = int(group.read('memory.usage_in_bytes' if v1 else 'memory.current'))
    return usage - cache + max(mapped, shmem)


class Run:
    """One server in one cgroup, and what its load came to."""

    def __init__(self, app, env, limit_bytes=None):
        self.app, self.env = app, env
        self.group = cgroup.Cgroup(limit_bytes)
        self.result = self.server = None

    def __enter__(self):
        self.group.__enter__()
        return self

    def __exit__(self, *_):
        self.app.stop(self.server)
        self.group.__exit__()

    def load(self, seconds):
        """(requests/s, p99 ms), or None: it did not come up, lost requests, or was killed."""
        watch = Watch(self.group)
        watch.start()
        try:
            self.server = self.app.start(self.group.procs, self.env)
            self.begin = time.monotonic()
            result = self.app.load(seconds)
        except service.Failed as why:
            self.why, result = str(why), None
        watch.end()
        self.samples = watch.samples
        return None if self.group.oom_kills() else result

    def peak(self):
        return max(size for _, size in self.samples)

    def steady(self):
        middle = (self.begin + self.samples[-1][0]) / 2
        return statistics.median(size for when, size in self.samples if when > middle)


class Bench:
    """One service; rows by allocator."""

    def __init__(self, name, folder, put):
        self.name, self.app, self.folder, self.put = name, services.APPS[name], folder, put
        self.rows, self.peaks = {}, {}

    def row(self, allocator, **cells):
        row = self.rows.setdefault(allocator, {'app': self.name, 'allocator': allocator})
        row.update(cells)
        self.put(row)
        say(f'{self.name:10}{allocator:13}' + '  '.join(f'{k} {v}' for k, v in cells.items()))

    def free(self, allocator, env, rests):
        run = Run(self.app.clone(), env)
        run.__enter__()
        try:
            result = run.load(LOAD_S)
            if result is None:
                raise service.Failed(getattr(run, 'why', 'killed without a limit'))
        except BaseException as why:
            run.__exit__()
            if isinstance(why, service.Failed):
                self.row(allocator, rps='failed')
                say(f'{self.name} {allocator}: {why}')
                return
            raise
        self.peaks[allocator] = run.peak()
        with open(f'{self.folder}/{self.name}.{allocator}.samples', 'w', encoding='ascii') as f:
            f.writelines(f'{when - run.begin:.2f}\t{size}\n' for when, size in run.samples)
        self.row(allocator, rps=f'{result[0]:.0f}', p99=f'{result[1]:.1f}', steady=f'{run.steady() / MIB:.0f}',
                 peak=f'{run.peak() / MIB:.0f}')
        rests.append(rest(self, allocator, run))

    def tight(self, allocator, env):
        with Run(self.app.clone(), env, int(1.1 * min(self.peaks.values()))) as run:
            result = run.load(LOAD_S)
        whole = float(self.rows.get('glibc', self.rows[allocator])['rps'])
        self.row(allocator, tight=f'{result[0] / whole:.2f}' if result else 'killed')

    def survives(self, env, limit):
        with Run(self.app.clone(), env, int(limit)) as run:
            return run.load((LOAD_S + 1) // 2) is not None

    def limit(self, allocator, env):
        step = LIMIT_STEP * min(self.peaks.values())
        low, high = 0.5 * min(self.peaks.values()), 1.3 * self.peaks[allocator]
        while high - low > step:
            middle = (low + high) / 2
            if self.survives(env, middle):
                high = middle
            else:
                low = middle
        # One lucky run is not survival.
        while not all(self.survives(env, high) for _ in range(2)):
            high += step
            if high > 2 * self.peaks[allocator]:
                self.row(allocator, limit='never')
                return
        self.row(allocator, limit=f'{high / MIB:.0f}')


POOL = concurrent.futures.ThreadPoolExecutor(8)


def rest(bench, allocator, run):
    def wait():
        try:
            time.sleep(REST_S)
            return bench, allocator, memory(run.group)
        finally:
            run.__exit__()
    return POOL.submit(wait)


def chosen(variable, table, short):
    """The names in $variable, else those of a short run, else all."""
    return catalog.chosen(variable, table) if os.environ.get(variable) or not SHORT else short


def measure(name, folder, put):
    bench = Bench(name, folder, put)
    envs = {}
    for allocator in chosen('ALLOCS', ALLOCATORS, SHORT_ALLOCATORS):
        library, more = ALLOCATORS[allocator]
        if library:
            envs[allocator] = {'LD_PRELOAD': library, **more}
        else:
            say(f'ABSENT {allocator}')
    rests = []
    bench.app.prepare()
    try:
        # The first load after the preparation is slower, whatever the allocator.
        with Run(bench.app.clone(), {}) as run:
            run.load(LOAD_S)
        for allocator, env in envs.items():
            bench.free(allocator, env, rests)
            if bench.app.exclusive:
                concurrent.futures.wait(rests)
        for waiting in rests:
            of, allocator, left = waiting.result()
            of.row(allocator, after=f'{left / MIB:.0f}')
        for allocator in bench.peaks:
            bench.tight(allocator, envs[allocator])
        if not SHORT:
            for allocator in bench.peaks:
                bench.limit(allocator, envs[allocator])
    finally:
        bench.app.clean_up()


def main():
    results = results_table.Table(sys.argv[1])
    folder = os.path.splitext(sys.argv[1])[0]
    os.makedirs(folder, exist_ok=True)
    absent = []
    for name in chosen('APPS', services.APPS, SHORT_APPS):
        lacking = services.APPS[name].missing()
        if lacking:
            absent.append(f'ABSENT {name}: {lacking} is not here')
            continue
        measure(name, folder, results.put)
    results.print()
    for text in absent:
        print(text)


if __name__ == '__main__':
    try:
        main()
    except cgroup.Unavailable as why:
        sys.exit(f'SKIPPED: {why}')
