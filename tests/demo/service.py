"""service - gunicorn with an allocator of choice under a memory limit, and a client that asks it.

`ways()` finds how memory can be limited here: `cgroup` (a child of our own cgroup), `systemd` (a scope:
on cgroup v2 a cgroup has processes or children, and only systemd can give us another), or `none`.
"""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import cgroup

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
WORKERS = 4
SIZES_MIB = (1, 1, 4, 4, 12, 24)


def ways():
    """(way, why there is no limit)."""
    try:
        with cgroup.Cgroup(64 * MIB):
            return 'cgroup', ''
    except cgroup.Unavailable as e:
        why = str(e)
    if subprocess.run([*_scope(64 * MIB), 'true'], capture_output=True, check=False).returncode == 0:
        return 'systemd', ''
    return 'none', why


def _scope(limit_bytes):
    if not shutil.which('systemd-run') or not os.path.isdir('/run/systemd/system'):
        return ['false']
    user = ['--user'] if os.getuid() else []
    return ['systemd-run', *user, '--scope', '--quiet', '--collect', '-p', f'MemoryMax={limit_bytes}',
            '-p', 'MemorySwapMax=0', '--']


def requests(bodies):
    """The same for all, as long as they ask."""
    rng = random.Random(1)
    while True:
        yield bodies[rng.choice(SIZES_MIB)]


def make_bodies():
    """size in MiB -> JSON records whose texts have 1 to 60 KiB."""
    rng = random.Random(1)
    return {size: json.dumps(_records(rng, size * MIB)).encode() for size in set(SIZES_MIB)}


def _records(rng, total):
    records = []
    while total > 0:
        size = int(1024 * 60 ** rng.random())
        records.append({'id': len(records), 'text': 'x' * size})
        total -= size
    return records


class Scope:
    """A scope of systemd's, or no cgroup at all; what cgroup.Cgroup does for the rest."""

    def __init__(self, pid, way):
        self.pid, self.path = pid, None
        if way == 'systemd':
            with open(f'/proc/{pid}/cgroup', encoding='ascii') as f:
                self.path = '/sys/fs/cgroup' + f.read().split('::')[1].strip()
        self.version = 2

    def read(self, name):
        with open(f'{self.path}/{name}', encoding='ascii') as f:
            return f.read()

    def oom_kills(self):
        if self.path is None:
            return 0
        return int(dict(line.split() for line in self.read('memory.events').splitlines())['oom_kill'])


class Service:
    """One server and its client, a thread. `served`, `lost`, `seconds`, `history` grow while it runs."""

    def __init__(self, name, env, way, limit_bytes):
        self.name, self.env, self.way, self.limit_bytes = name, env, way, limit_bytes
        self.served = self.lost = self.kills = 0
        self.history = []
        self.peak_bytes = 0
        self.log_path, self.log_bytes_at_kill = None, 0
        self.server = self.cgroup = None
        self._stack = contextlib.ExitStack()
        self._thread = None
        self._end = threading.Event()

    def start(self, log_path):
        self.log_path = log_path
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.port = s.getsockname()[1]
        command = ['env', f'PYTHONPATH={HERE}', 'PYTHONDONTWRITEBYTECODE=1',
                   *(f'{k}={v}' for k, v in self.env.items()), 'gunicorn', '--workers', str(WORKERS),
                   '--bind', f'127.0.0.1:{self.port}', '--log-level', 'critical', 'app:application']
        if self.way == 'cgroup':
            self.cgroup = self._stack.enter_context(cgroup.Cgroup(self.limit_bytes))
            command = ['/bin/sh', '-c', 'echo $$ >"$0" && exec "$@"', self.cgroup.procs, *command]
        elif self.way == 'systemd':
            command = [*_scope(self.limit_bytes), *command]
        with open(log_path, 'wb') as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def comes_up(self):
        for _ in range(400):
            try:
                self._post(b'[]')
                break
            except (OSError, http.client.HTTPException):
                if self.server.poll() is not None:
                    return False
                time.sleep(0.05)
        else:
            return False
        if self.way != 'cgroup':
            self.cgroup = Scope(self.server.pid, self.way)
        return True

    def ask(self, bodies):
        """From here on requests are sent, until end()."""
        self._thread = threading.Thread(target=self._ask, args=(bodies,), daemon=True)
        self._thread.start()

    def end(self):
        """Nothing counts from here on."""
        if self._thread:
            self.look()
        self._end.set()
        if self.server:
            self.server.send_signal(signal.SIGQUIT)

    def clean_up(self):
        if self.server:
            try:
                self.server.wait(5)
            except subprocess.TimeoutExpired:
                for pid in self.serving_pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.server.wait()
        if self._thread:
            self._thread.join()
        self._stack.close()

    def look(self):
        """Adds (seconds, bytes, kills) to the history."""
        before, self.kills = self.kills, self.cgroup.oom_kills()
        if self.kills > before:
            self.log_bytes_at_kill = os.path.getsize(self.log_path)
        usage = self._usage_bytes()
        self.peak_bytes = max(self.peak_bytes, usage)
        self.history.append((time.monotonic(), usage, self.kills))
        return usage

    def serving_pids(self):
        """The master, and those that it started."""
        pid = self.server.pid
        try:
            with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as f:
                return [pid, *map(int, f.read().split())]
        except OSError:
            return [pid]

    def uses(self, library):
        """Does a worker have this library mapped?"""
        for pid in self.serving_pids()[1:]:
            try:
                with open(f'/proc/{pid}/maps', encoding='utf-8', errors='replace') as f:
                    return library in f.read()
            except OSError:
                pass
        return False

    def _usage_bytes(self):
        if getattr(self.cgroup, 'path', None) is None:
            return sum(map(_resident, self.serving_pids()))
        v1 = self.cgroup.version == 1
        stat = dict(line.split() for line in self.cgroup.read('memory.stat').splitlines())
        usage = int(self.cgroup.read('memory.usage_in_bytes' if v1 else 'memory.current'))
        return usage - int(stat['total_inactive_file' if v1 else 'inactive_file'])

    def _post(self, body):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=20)
        try:
            connection.request('POST', '/', body)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f'status {answer.status}')
        finally:
            connection.close()

    def _ask(self, bodies):
        for body in requests(bodies):
            try:
                self._post(body)
                well = True
            except (OSError, http.client.HTTPException):
                well = False
            if self._end.wait(0.02):
                return
            self.served += well
            self.lost += not well


def _resident(pid):
    try:
        with open(f'/proc/{pid}/statm', encoding='ascii') as f:
            return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except OSError:
        return 0
