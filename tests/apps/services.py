"""services - the services of bench-apps: how each is started, loaded and ended.

The server alone runs in the cgroup and under the allocator; what loads it is outside. Servers listen on
a free port of 127.0.0.1, or on a socket in their folder.
"""

import contextlib
import copy
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import statistics
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


class Redis(App):
    """A cache of 128 MiB whose values change size; the least recently used ones go."""

    needs = ('redis-server', 'redis-benchmark', 'redis-cli')
    sizes = (4000, 1500, 20000, 6000, 60000, 2500)

    def command(self):
        return [program('redis-server'), '--bind', '127.0.0.1', '--port', str(self.port), '--save', '', '--dir', self.folder,
                '--dbfilename', f'{self.port}.rdb', '--maxmemory', '128mb', '--maxmemory-policy', 'allkeys-lru',
                '--loglevel', 'warning']

    def load(self, seconds):
        # Half of the cache's bytes a step, so that the sizes mix.
        rates, slowest, begin = [], [], time.monotonic()
        steps = 0
        while steps < len(self.sizes) or time.monotonic() - begin < seconds:
            size = self.sizes[steps % len(self.sizes)]
            rows = output(program('redis-benchmark'), '-p', str(self.port), '-t', 'set,get', '-d', str(size), '-r', '100000',
                          '-n', str((64 << 20) // size), '-c', '20', '--csv').splitlines()[1:]
            cells = [row.replace('"', '').split(',') for row in rows]
            rates += [float(row[1]) for row in cells]
            slowest += [float(row[6]) for row in cells]
            steps += 1
            self.between()
        return statistics.harmonic_mean(rates), max(slowest)

    def between(self):
        pass


class RedisSaves(Redis):
    """The same, saved by a forked child again and again."""

    def between(self):
        with contextlib.suppress(Failed):
            output(program('redis-cli'), '-p', str(self.port), 'bgsave')


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


class Nginx(Wrk):
    """A proxy of bodies of 256 KiB; what stands behind it is outside."""

    needs = ('nginx', 'wrk')
    connections, script = 64, 'plain.lua'

    def prepare(self):
        super().prepare()
        os.chmod(self.folder, 0o755)
        with open(f'{self.folder}/body', 'wb') as f:
            f.write(os.urandom(256 << 10))
        self.behind = free_port()
        where = self._configure('behind', self.behind, f'root {self.folder}; try_files /body =404;')
        with open(f'{self.folder}/log', 'ab') as log:
            self.other = subprocess.Popen([program('nginx'), '-p', self.folder, '-c', where], stderr=log)

    def clean_up(self):
        self.stop(self.other)
        super().clean_up()

    def _configure(self, name, port, location):
        path = f'{self.folder}/{name}.{port}.conf'
        with open(path, 'w', encoding='ascii') as f:
            f.write(f'''daemon off; worker_processes 2; pid {path}.pid; error_log stderr crit;
                user {pwd.getpwuid(os.getuid()).pw_name};
                events {{ worker_connections 512; }}
                http {{ access_log off; client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2;
                    fastcgi_temp_path {self.folder}/t3; uwsgi_temp_path {self.folder}/t4; scgi_temp_path {self.folder}/t5;
                    server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}''')
        return path

    def command(self):
        where = self._configure('proxy', self.port, f'''proxy_pass http://127.0.0.1:{self.behind};
            proxy_http_version 1.1; proxy_buffer_size 16k; proxy_buffers 16 32k; proxy_max_temp_file_size 0;''')
        return [program('nginx'), '-p', self.folder, '-c', where]


class Node(Wrk):
    """http: JSON comes in, is parsed and kept for a while; Buffers go out."""

    needs = ('node', 'wrk')

    def command(self):
        return [program('node'), f'{HERE}/server.js', str(self.port)]


class Gunicorn(Wrk):
    """Four forked processes, JSON."""

    needs = ('gunicorn', 'wrk')
    connections = 4

    def command(self):
        return ['env', f'PYTHONPATH={HERE}', 'PYTHONDONTWRITEBYTECODE=1', program('gunicorn'), '--workers', '4', '--bind',
                f'127.0.0.1:{self.port}', '--log-level', 'critical', 'server:application']


class Postgres(App):
    """pgbench, eight connections."""

    exclusive = True
    needs = ('postgres', 'initdb', 'pgbench', 'setpriv')

    def prepare(self):
        super().prepare()
        if os.getuid() == 0:
            shutil.chown(self.folder, 'postgres')
            self.user = ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups']
        output(*self.user, program('initdb'), '-D', f'{self.folder}/data', '-U', 'postgres', '-A', 'trust', '--no-sync',
               '--locale=C', '-E', 'UTF8')
        one = self.clone()
        server = one.start('/dev/null', {})
        output(*one._pgbench('-i', '-q', '-s', '10'))
        one.stop(server)

    def command(self):
        return [program('postgres'), '-D', f'{self.folder}/data', '-k', self.folder, '-p', str(self.port), '-c',
                'listen_addresses=', '-c', 'fsync=off', '-c', 'shared_buffers=32MB', '-c', 'log_min_messages=fatal']

    def _pgbench(self, *arguments):
        return [program('pgbench'), '-h', self.folder, '-p', str(self.port), '-U', 'postgres', *arguments, 'postgres']

    def is_up(self):
        with contextlib.suppress(Failed):
            output(program('psql'), '-h', self.folder, '-p', str(self.port), '-U', 'postgres', '-c', 'select 1', 'postgres')
            return True
        return False

    def load(self, seconds):
        logs = tempfile.mkdtemp(dir=self.folder)
        text = output(*self._pgbench('-n', '-c', '8', '-j', '1', '-T', str(int(seconds)), '-l', f'--log-prefix={logs}/t'),
                      timeout=seconds + 60)
        times = sorted(int(line.split()[2]) for name in glob.glob(f'{logs}/t*') for line in open(name, encoding='ascii'))
        if not times or 'aborted' in text:
            raise Failed(text)
        return float(re.search(r'tps = ([\d.]+)', text).group(1)), times[int(len(times) * 0.99)] / 1000


class Mariadb(App):
    """sysbench oltp_read_write, 16 threads, a buffer pool of 64 MiB."""

    exclusive = True
    needs = ('mariadbd', 'mariadb-install-db', 'sysbench')

    def prepare(self):
        super().prepare()
        output(program('mariadb-install-db'), f'--datadir={self.folder}/data', '--auth-root-authentication-method=normal',
               f'--user={pwd.getpwuid(os.getuid()).pw_name}', '--skip-test-db')
        one = self.clone()
        server = one.start('/dev/null', {})
        output('mariadb', f'--socket={one._socket()}', '-u', 'root', '-e', 'create database sbtest')
        output(*one._sysbench('prepare'), timeout=150)
        one.stop(server)

    def _socket(self):
        return f'{self.folder}/{self.port}.sock'

    def command(self):
        return [program('mariadbd'), '--no-defaults', f'--datadir={self.folder}/data', f'--socket={self._socket()}',
                f'--pid-file={self.folder}/pid', '--skip-networking', '--innodb-buffer-pool-size=64M',
                '--innodb-flush-log-at-trx-commit=0', f'--user={pwd.getpwuid(os.getuid()).pw_name}']

    def _sysbench(self, *arguments):
        return ['sysbench', 'oltp_read_write', f'--mysql-socket={self._socket()}', '--mysql-user=root', '--tables=4',
                '--table-size=25000', '--threads=16', '--percentile=99', '--report-interval=0', *arguments]

    def is_up(self):
        with contextlib.suppress(Failed):
            output('mariadb', f'--socket={self._socket()}', '-u', 'root', '-e', 'select 1')
            return True
        return False

    def stop(self, server):
        if server:
            server.terminate()
            server.wait(30)

    def load(self, seconds):
        text = output(*self._sysbench(f'--time={int(seconds)}', 'run'), timeout=seconds + 60)
        return (float(re.search(r'transactions:\s+\d+\s+\(([\d.]+)', text).group(1)),
                float(re.search(r'99th percentile:\s+([\d.]+)', text).group(1)))


class Memcached(App):
    """Values of 1 KiB to 512 KiB, set and read by four connections."""

    needs = ('memcached',)
    threads = 4

    def command(self):
        return [program('memcached'), '-l', '127.0.0.1', '-p', str(self.port), '-m', '64', '-t', '2',
                *(['-u', 'root'] if os.getuid() == 0 else [])]

    def load(self, seconds):
        times, lost = [], []
        end = time.monotonic() + seconds
        workers = [threading.Thread(target=self._ask, args=(i, end, times, lost)) for i in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if lost:
            raise Failed(str(lost[0]))
        times.sort()
        return len(times) / seconds, 1000 * times[int(len(times) * 0.99)]

    def _ask(self, number, end, times, lost):
        try:
            with socket.create_connection(('127.0.0.1', self.port), 20) as s, s.makefile('rb') as replies:
                i = number
                while time.monotonic() < end:
                    begin = time.monotonic()
                    size = 1024 << (i * 7 % 10)
                    s.sendall(b'set k%d 0 0 %d\r\n' % (i % 2000, size) + bytes(size) + b'\r\nget k%d\r\n' % (i * 31 % 2000))
                    if not replies.readline():
                        raise OSError('closed')
                    head = replies.readline().split()
                    if head[0] == b'VALUE':
                        replies.read(int(head[3]) + 2)
                        replies.readline()
                    times.append(time.monotonic() - begin)
                    i += self.threads
        except (OSError, IndexError) as why:
            lost.append(why)


APPS = {'redis': Redis(), 'redis-rdb': RedisSaves(), 'nginx': Nginx(), 'node': Node(), 'gunicorn': Gunicorn(),
        'postgres': Postgres(), 'mariadb': Mariadb(), 'memcached': Memcached()}
