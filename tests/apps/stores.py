"""stores - caches and databases of bench-apps."""

import contextlib
import glob
import itertools
import os
import pwd
import re
import shutil
import statistics
import tempfile
import time

from service import App, Failed, Talk, output, program


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


class Memcached(Talk):
    """Values of 1 KiB to 512 KiB, set and read by four connections."""

    needs = ('memcached',)
    threads = 4

    def command(self):
        return [program('memcached'), '-l', '127.0.0.1', '-p', str(self.port), '-m', '64', '-t', '2',
                *(['-u', 'root'] if os.getuid() == 0 else [])]

    def talk(self, number, connection, replies):
        for i in itertools.count(number, self.threads):
            size = 1024 << (i * 7 % 10)
            connection.sendall(b'set k%d 0 0 %d\r\n' % (i % 2000, size) + bytes(size) + b'\r\nget k%d\r\n' % (i * 31 % 2000))
            if not replies.readline():
                raise OSError('closed')
            head = replies.readline().split()
            if head[0] == b'VALUE':
                replies.read(int(head[3]) + 2)
                replies.readline()
            yield
