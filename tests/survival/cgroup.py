"""cgroup - throw-away memory cgroups below our own, v1 or v2, and programs run inside them.

A cgroup lives for one run: what an earlier run left charged (page cache above all) must not count.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

V1_ROOT = '/sys/fs/cgroup/memory'
V2_ROOTS = ('/sys/fs/cgroup', '/sys/fs/cgroup/unified')

# A run that is ended from outside still takes its cgroup, and who is in it, away.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


class Unavailable(Exception):
    """There is no memory cgroup here that we may make children of; the text says why."""


def _own_path(controller):
    with open('/proc/self/cgroup') as lines:
        for line in lines:
            _, names, path = line.rstrip('\n').split(':', 2)
            if controller in names.split(',') if controller else not names:
                return path
    return None


def _find_parent():
    path = _own_path('memory')
    if path is not None and os.path.isdir(V1_ROOT):
        return 1, V1_ROOT + path
    for root in V2_ROOTS:
        control = root + (_own_path('') or '') + '/cgroup.subtree_control'
        if os.path.exists(control) and 'memory' in open(control).read().split():
            return 2, os.path.dirname(control)
    raise Unavailable('no memory cgroup: neither v1 nor a v2 parent that delegates the controller')


class Cgroup:
    """One directory. `with Cgroup(limit_bytes) as cg` makes it and takes it away."""

    def __init__(self, limit_bytes=None):
        self.limit_bytes = limit_bytes
        self.version, parent = _find_parent()
        self.path = f'{parent}/tidepool-survival-{os.getpid()}-{time.monotonic_ns()}'
        self.procs = self.path + '/cgroup.procs'

    def __enter__(self):
        try:
            os.mkdir(self.path)
            if self.limit_bytes is not None:
                self.set_limit(self.limit_bytes)
            if self.version == 2 and os.path.exists(self.path + '/memory.swap.max'):
                self.write('memory.swap.max', '0')
        except OSError as e:
            raise Unavailable(f'cannot make a memory cgroup: {e}') from e
        return self

    def __exit__(self, *_):
        self.empty()
        os.rmdir(self.path)

    def read(self, name):
        with open(f'{self.path}/{name}') as f:
            return f.read()

    def write(self, name, text):
        with open(f'{self.path}/{name}', 'w') as f:
            f.write(text)

    def set_limit(self, limit_bytes):
        name = 'memory.limit_in_bytes' if self.version == 1 else 'memory.max'
        self.write(name, str(limit_bytes & ~4095))

    def peak_bytes(self):
        return int(self.read('memory.max_usage_in_bytes' if self.version == 1 else 'memory.peak'))

    def oom_kills(self):
        text = self.read('memory.oom_control' if self.version == 1 else 'memory.events')
        return int(dict(line.split() for line in text.splitlines())['oom_kill'])

    def empty(self):
        """Ends whatever still runs inside: only what we put there."""
        for _ in range(100):
            pids = self.read('cgroup.procs').split()
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        raise RuntimeError(f'{self.path} does not get empty')


@contextlib.contextmanager
def processors_shared(busy):
    """Meanwhile that many processes only use their processor. They end with us, however we do."""
    command = ['/bin/sh', '-c', 'while kill -0 "$0" 2>/dev/null; do :; done', str(os.getpid())]
    with contextlib.ExitStack() as stack:
        for _ in range(busy):
            process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            stack.callback(process.kill)
        yield


class Outcome:
    """How a run ended: `finished`, or why not, and what it reported."""

    def __init__(self, status, kills, stalled, peak_bytes, output):
        self.finished = status == 0 and not kills and not stalled
        self.killed = kills > 0
        self.why = ('finished' if self.finished else f'{kills} killed' if kills else
                    'stalled' if stalled else f'status {status}')
        self.usage_bytes = peak_bytes
        self.output = output
        self.report = {}
        for line in output.splitlines():
            if line.startswith('load '):
                self.report = {k: float(v) for k, v in (w.split('=') for w in line.split()[1:])}

    @property
    def seconds(self):
        return self.report.get('seconds', float('nan'))


def run(argv, env=None, limit_bytes=None, timeout_s=60, client=False):
    """Runs argv inside a cgroup of its own. A client stays outside and puts its server inside
    ($SURVIVAL_ENTER, $SURVIVAL_ENV), so that the limit and the allocator are the server's alone."""
    env = env or {}
    with Cgroup(limit_bytes) as cg:
        if client:
            settings = ' '.join(f'{k}={v}' for k, v in env.items())
            full_env = dict(os.environ, SURVIVAL_ENTER=cg.procs, SURVIVAL_ENV=settings)
            command = argv
        else:
            # env(1) takes the preload after the shell has entered, so that the shell is not part of it.
            settings = [f'{k}={v}' for k, v in env.items()]
            full_env = os.environ
            command = ['/bin/sh', '-c', 'echo $$ >"$0" && exec "$@"', cg.procs, 'env', *settings, *argv]
        with subprocess.Popen(command, env=full_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors='replace') as p:
            stalled = False
            try:
                output, _ = p.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                stalled = True
                cg.empty()
                p.kill()
                output, _ = p.communicate()
        return Outcome(p.returncode, cg.oom_kills(), stalled, cg.peak_bytes(), output)
