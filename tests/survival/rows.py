"""rows - what a limit asks beside the smallest one: speed of growth, no cost, giving back when idle.

    ROWS='growth idle' ALLOCS='tidepool' RUNS=50 rows.py RESULTS.tsv

growth    touched memory grows at 2 GB/s into 1 GiB; 600 MiB freed before lie in idle threads and pools.
          Kills in RUNS runs, for growth in blocks of each kind. The control is an allocator that is killed:
          run the row with ALLOCS='mimalloc tidepool'.
tight     live data at 95 % of the limit, nothing to reclaim: speed with the watchdog on as a ratio to off
          (tidepool only). Medians of alternating runs.
idle      no limit: per cent of what was freed that left the resident set within 15 s.
watch     processor time of the watchdog's thread in an idle process, per cent of one core.
"""

import os
import re
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor

import catalog
import cgroup

MIB = 1 << 20
KINDS = ('pooled', 'small', 'large')
RUNS = int(os.environ.get('RUNS') or 50)
PAIRS = 7


def program(name, *argv):
    return [f'{catalog.B}/tests/survival/{name}', *map(str, argv)]


def figure(outcome, name):
    found = re.search(rf'{name}=([-\d.]+)', outcome.output)
    if not found:
        sys.exit(f'no {name} in what the program said ({outcome.why}):\n{outcome.output}')
    return float(found[1])


def growth(allocator, env):
    for kind in KINDS:
        free = cgroup.run(program('growth', 600, kind, 900, 1907), env)
        rates, bad = [], []
        for _ in range(RUNS):
            outcome = cgroup.run(program('growth', 600, kind, 900, 1907), env, 1024 * MIB)
            if outcome.finished:
                rates.append(figure(outcome, 'mib_per_s'))
            else:
                bad.append(outcome.why)
        text = f'{len(bad)} of {RUNS} killed' if bad else f'0 of {RUNS}'
        rate = f'{statistics.median(rates):.0f} MiB/s' if rates else 'never grew'
        yield f'growth, {kind}', allocator, text, '0 of 50', (
            f'{rate}, unlimited {figure(free, "mib_per_s"):.0f}' + (f'; {bad[0]}' if bad else ''))


def tight(allocator, env):
    if allocator != 'tidepool':
        return
    for kind, operations in zip(KINDS, (500_000, 2_000_000, 4_000)):
        # What the data takes with its rounding to classes is 95 % of the limit, not what was asked for.
        free = cgroup.run(program('tight', 380, kind, 1000), {**env, 'TIDEPOOL_WATCHDOG': 'off'})
        if not free.finished:
            sys.exit(f'tight does not run without a limit: {free.why}\n{free.output}')
        limit = int(free.usage_bytes / 0.95)
        seconds = {'on': [], 'off': []}
        failed = ''
        for _ in range(PAIRS):
            for switch, times in seconds.items():
                outcome = cgroup.run(program('tight', 380, kind, operations),
                                     {**env, 'TIDEPOOL_WATCHDOG': switch}, limit)
                if not outcome.finished:
                    failed = f'{switch}: {outcome.why}'
                    break
                times.append(outcome.seconds)
        if failed:
            yield f'tight, {kind}', allocator, failed, '>= 0.97', f'limit {limit / MIB:.0f} MiB'
            continue
        ratio = statistics.median(seconds['off']) / statistics.median(seconds['on'])
        spread = ', '.join(f'{k} {min(v):.2f}-{max(v):.2f} s' for k, v in seconds.items())
        yield f'tight, {kind}', allocator, f'{ratio:.3f}', '>= 0.97', spread


def idle(allocator, env):
    # Nothing is timed but the wait itself, so these wait together.
    cases = [(kind, threads) for threads in (0, 16) for kind in KINDS]
    with ThreadPoolExecutor(len(cases)) as pool:
        outcomes = pool.map(lambda c: cgroup.run(program('giveback', 200, c[0], c[1], 15), env), cases)
        for (kind, threads), outcome in zip(cases, outcomes):
            yield (f'idle, {kind}, {threads or "main"}' + (' threads' if threads else ''), allocator,
                   f'{figure(outcome, "returned"):.1f} %', '>= 95 %',
                   outcome.output.rpartition('giveback ')[2].strip())


def watch(allocator, env):
    outcome = cgroup.run(program('watchcost', 100, 30), env)
    yield ('watch', allocator, f'{figure(outcome, "percent"):.4f} %', '< 0.1 %',
           f'{figure(outcome, "threads"):.0f} thread(s) beside main, 30 s')


ROWS = {'growth': growth, 'tight': tight, 'idle': idle, 'watch': watch}


def main():
    os.makedirs(os.path.dirname(sys.argv[1]) or '.', exist_ok=True)
    with open(sys.argv[1], 'a') as tsv:
        for name in catalog.chosen('ROWS', ROWS):
            for allocator in os.environ.get('ALLOCS', '').split() or ['tidepool']:
                env = catalog.environment(allocator)
                if env is None:
                    print(f'ABSENT {name}/{allocator}: not here', flush=True)
                    continue
                for row in ROWS[name](allocator, env):
                    print(f'{row[0]:26}{row[1]:17}{row[2]:18}{row[3]:10}{row[4]}', flush=True)
                    tsv.write('\t'.join(row) + '\n')


if __name__ == '__main__':
    try:
        main()
    except cgroup.Unavailable as why:
        sys.exit(f'SKIPPED: {why}')
