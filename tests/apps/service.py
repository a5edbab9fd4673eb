"""service - what the services of bench-apps have in common: how one is started, asked and ended.

The server alone runs in the cgroup and under the allocator; what loads it is outside. Servers listen on
a free port of 127.0.0.1, or on a socket in their folder.
"""

import contextlib
import copy
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Failed(Exception):
    """The service did not come up, or its load did not end well."""


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def program(name):
    """Its path; what only root's PATH or a package's own folder has, too."""
    places = ['/usr/sbin', '/sbin', *sorted(glob.glob('/usr/lib/postgresql/*/bin'), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ['PATH'], *places]))


def output(*command, env=None, timeout=60):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False,
                              env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as e:
        raise Failed(f'{command[0]}: no end') from e
    if done.returncode:
        raise Failed(f'{command[0]}: {done.stdout[-300:]}{done.stderr[-300:]}')
    return done.stdout


class App:
    """`needs` are its programs. A clone has a port of its own and shares the folder; where the folder serves
    one server at a time, the service is `exclusive`."""

    needs = ()
    exclusive = False
    folder = None
    user = []

    def missing(self):
        return next((name for name in self.needs if not program(name)), None)

    def prepare(self):
        self.folder = tempfile.mkdtemp(prefix='tidepool-apps-')

    def clean_up(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def clone(self):
        one = copy.copy(self)
        one.port = free_port()
        return one

    def start(self, procs, env):
        settings = [f'{k}={v}' for k, v in env.items()]
        command = ['/bin/sh', '-c', 'echo $$ >"$0" && exec "$@"', procs, *self.user, 'env', *settings, *self.command()]
        with open(f'{self.folder}/log', 'ab') as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)
        for _ in range(400):
            if self.is_up():
                return server
            if server.poll() is not None:
                break
            time.sleep(0.05)
        self.stop(server)
        with open(f'{self.folder}/log', encoding='utf-8', errors='replace') as log:
            raise Failed(f'does not come up: {log.read()[-400:]}')

    def is_up(self):
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', self.port), 1):
            return True
        return False

    def stop(self, server):
        if server is None:
            return
        server.send_signal(signal.SIGINT)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class Wrk(App):
    """What HTTP servers have in common."""

    connections, script = 16, 'mixed.lua'

    def load(self, seconds):
        text = output('wrk', '-t', '1', '-c', str(self.connections), '-d', str(seconds), '--latency', '--timeout', '10s',
                      '-s', f'{HERE}/{self.script}', f'http://127.0.0.1:{self.port}/', timeout=seconds + 60)
        if 'Socket errors' in text or 'Non-2xx' in text:
            raise Failed(text[-300:])
        number, unit = re.search(r'99%\s+([\d.]+)(us|ms|s)\b', text).groups()
        return (float(re.search(r'Requests/sec:\s+([\d.]+)', text).group(1)),
                float(number) * {'us': 0.001, 'ms': 1, 's': 1000}[unit])


class Talk(App):
    """What servers without a loader of their own have in common: each thread talks on a connection."""

    threads = 1

    def talk(self, number, connection, replies):
        """Yields after each request."""
        raise NotImplementedError

    def load(self, seconds):
        times, lost = [], []
        end = time.monotonic() + seconds
        workers = [threading.Thread(target=self._time, args=(i, end, times, lost)) for i in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if lost:
            raise Failed(str(lost[0]))
        times.sort()
        return len(times) / seconds, 1000 * times[int(len(times) * 0.99)]

    def _time(self, number, end, times, lost):
        try:
            with socket.create_connection(('127.0.0.1', self.port), 20) as connection, connection.makefile('rb') as replies:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                begin = time.monotonic()
                for _ in self.talk(number, connection, replies):
                    now = time.monotonic()
                    times.append(now - begin)
                    begin = now
                    if now > end:
                        return
        except (OSError, IndexError) as why:
            lost.append(why)
