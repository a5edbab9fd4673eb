"""survival - the smallest cgroup limit under which a load finishes, as a ratio to what it keeps live.

    PATTERNS='shift idle' ALLOCS='tidepool jemalloc' LIVE_MIB=200 LOAD=8 survival.py RESULTS.tsv

What the ratio means. Live bytes are the bytes the program asked for and touched, counted by the
program (for the three real programs: what they were made to hold, and what they say of themselves). The limit
charges more than that: code and stacks, page tables, thread stacks in the kernel. `limit/live` leaves all of
it in the limit, so 1.00 is out of reach, and it is the number the bars are for. `net` divides by live plus
what the same program needs with no data under glibc (`base`), which is the fair number for
programs with a large base, and the only one that says much for node. Peak and base are measured once,
under glibc, so that no allocator's rounding makes its own divisor larger.

How it is found. Bisection to 1 % of live between a limit that was seen to kill and one that was
seen to do; then the limit has to do CONFIRM times running, or it goes up by 1 %. The control is
part of it: `below` says how the run ended at the limit just under the one reported.
Results are kept by pattern and allocator: measuring one row again leaves the others in place.
With LOAD=8 eight processes that only use their processor run beside all of it, from the first reference on.
"""

import os
import statistics
import sys

import cgroup
import catalog
import results

MIB = 1 << 20
STEP = 0.01
CONFIRM = 3
PAIRS = 7
HEADROOM = 1.25


class Reference:
    """What a pattern holds at its worst moment, and what it costs with no data."""

    def __init__(self, pattern):
        env = catalog.environment('glibc')
        full = cgroup.run(pattern.command(catalog.LIVE_MIB), env, client=pattern.client)
        empty = cgroup.run(pattern.command(0), env, client=pattern.client)
        if not (full.finished and empty.finished):
            sys.exit(f'{pattern.argv[0]} does not run without a limit: {full.why}, {empty.why}\n'
                     f'{full.output}{empty.output}')
        self.live_bytes = full.report['peak_bytes'] + full.report.get('own_bytes', 0)
        self.base_bytes = empty.usage_bytes
        # What the ratios of speed are taken at.
        self.need_bytes = self.live_bytes + (self.base_bytes if pattern.real else 0)


class Search:
    """One pattern under one allocator."""

    def __init__(self, pattern, env, reference):
        self.pattern, self.env, self.reference = pattern, env, reference
        self.step_bytes = reference.live_bytes * STEP
        self.free_run = self.run(None)
        self.timeout_s = 5 + 15 * self.free_run.seconds

    def run(self, limit_bytes):
        timeout_s = 120 if limit_bytes is None else self.timeout_s
        limit_bytes = None if limit_bytes is None else int(limit_bytes)
        return cgroup.run(self.pattern.command(catalog.LIVE_MIB), self.env, limit_bytes, timeout_s,
                          self.pattern.client)

    def smallest(self):
        """(limit that does, its runs, the run just below). None as limit: nothing was enough."""
        low = 0.9 * self.reference.live_bytes
        below = self.run(low)
        if below.finished:
            sys.exit(f'control failed: {self.pattern.argv} finished in less than it holds')
        high = max(1.02 * self.free_run.usage_bytes, low + 2 * self.step_bytes)
        if not self.run(high).finished:
            high *= 1.1
            if not self.run(high).finished:
                return None, [], below
        while high - low > self.step_bytes:
            middle = (low + high) / 2
            outcome = self.run(middle)
            if outcome.finished:
                high = middle
            else:
                low, below = middle, outcome
        return self.confirmed(high, below)

    def confirmed(self, limit, below):
        """Kills near the edge are a matter of chance; one lucky run is not survival."""
        for _ in range(20):
            runs = []
            for _ in range(CONFIRM):
                runs.append(self.run(limit))
                if not runs[-1].finished:
                    break
            else:
                return limit, runs, below
            below = runs[-1]
            limit += self.step_bytes
        return None, [], below

    def speed_with_headroom(self):
        """Speed at 1.25x as a ratio to unlimited, medians of alternating runs; None if killed."""
        limited, unlimited = [], []
        for _ in range(PAIRS):
            run = self.run(HEADROOM * self.reference.need_bytes)
            if not run.finished:
                return None
            limited.append(run.seconds)
            unlimited.append(self.run(None).seconds)
        return statistics.median(unlimited) / statistics.median(limited)


def measure(name, allocator, pattern, env, reference):
    search = Search(pattern, env, reference)
    row = {'pattern': name, 'allocator': allocator,
           'live_mib': f'{reference.live_bytes / MIB:.1f}',
           'base_mib': f'{reference.base_bytes / MIB:.1f}',
           'bar': f'{pattern.bar:.2f}' if pattern.bar else '-'}
    if not search.free_run.finished:
        return {**row, 'below': 'fails without a limit: ' + search.free_run.why}
    row['unlimited_s'] = f'{search.free_run.seconds:.3f}'
    limit, runs, below = search.smallest()
    row['below'] = below.why
    if limit:
        row['ratio'] = f'{limit / reference.live_bytes:.3f}'
        row['net'] = f'{limit / (reference.live_bytes + reference.base_bytes):.3f}'
        row['seconds'] = f'{statistics.median(r.seconds for r in runs):.3f}'
    speed = search.speed_with_headroom()
    row['speed'] = 'killed' if speed is None else f'{speed:.2f}'
    return row


def main():
    table = results.Table(sys.argv[1])
    absent = []
    for name in catalog.chosen('PATTERNS', catalog.PATTERNS):
        pattern, reference = catalog.PATTERNS[name], None
        for allocator in catalog.chosen('ALLOCS', catalog.ALLOCATORS, catalog.ALLOCATORS_BY_NAME):
            env = catalog.environment(allocator)
            lacking = pattern.missing() or (allocator if env is None else None)
            if lacking:
                absent.append(f'{name}/{allocator}: {lacking} is not here')
                print(f'ABSENT {absent[-1]}', flush=True)
                continue
            reference = reference or Reference(pattern)
            row = measure(name, allocator, pattern, env, reference)
            table.put(row)
            print(results.line(row), flush=True)
    print()
    table.print()
    for text in absent:
        print(f'ABSENT {text}')


if __name__ == '__main__':
    try:
        with cgroup.processors_shared(int(os.environ.get('LOAD') or 0)):
            main()
    except cgroup.Unavailable as why:
        sys.exit(f'SKIPPED: {why}')
