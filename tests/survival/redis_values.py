"""redis_values.py LIVE_MIB - redis full of 64 KiB values, which 3 KiB ones replace.

The client: the server alone runs in the cgroup ($SURVIVAL_ENTER) and under the allocator
($SURVIVAL_ENV). Live bytes are the server's own used_memory at its largest, less what it uses
when empty. The server listens on a port of 127.0.0.1 that the kernel found free.
"""

import os
import socket
import subprocess
import sys
import time

LARGE, SMALL = 64 << 10, 3 << 10
BATCH_BYTES = 256 << 10


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def start_server(port):
    redis = ['/usr/bin/redis-server', '--bind', '127.0.0.1', '--port', str(port), '--save', '',
             '--appendonly', 'no', '--daemonize', 'no', '--dir', '/tmp', '--loglevel', 'warning']
    enter = os.environ.get('SURVIVAL_ENTER', '/dev/null')
    settings = os.environ.get('SURVIVAL_ENV', '').split()
    return subprocess.Popen(['/bin/sh', '-c', 'echo $$ >"$0" && exec "$@"', enter, 'env', *settings, *redis],
                            stdout=subprocess.DEVNULL)


def connect(server, port):
    for _ in range(200):
        if server.poll() is not None:
            sys.exit(f'the server ended: {server.returncode}')
        try:
            return socket.create_connection(('127.0.0.1', port))
        except OSError:
            time.sleep(0.02)
    sys.exit('the server does not answer')


class Client:
    """Commands go out in batches; each batch waits for its answers."""

    def __init__(self, sock):
        self.sock, self.replies = sock, sock.makefile('rb')
        self.pending, self.bytes, self.count = [], 0, 0

    def send(self, *words):
        for word in (b'*%d\r\n' % len(words), *(b'$%d\r\n%b\r\n' % (len(w), w) for w in words)):
            self.pending.append(word)
            self.bytes += len(word)
        self.count += 1
        if self.bytes > BATCH_BYTES:
            self.flush()

    def flush(self):
        self.sock.sendall(b''.join(self.pending))
        for _ in range(self.count):
            reply = self.replies.readline()
            if reply[:1] not in (b'+', b':'):
                sys.exit(f'the server said {reply!r}')
        self.pending, self.bytes, self.count = [], 0, 0

    def info(self, field):
        self.sock.sendall(b'INFO memory\r\n')
        size = int(self.replies.readline()[1:])
        lines = self.replies.read(size + 2).decode().splitlines()
        return int(dict(x.split(':', 1) for x in lines if ':' in x)[field])


def churn(client, live_bytes):
    large = live_bytes // LARGE
    for i in range(large):
        client.send(b'SET', b'large:%d' % i, bytes([i & 255]) * LARGE)
    for i in range(large):
        client.send(b'DEL', b'large:%d' % i)
        for j in range(LARGE // SMALL):
            client.send(b'SET', b'small:%d:%d' % (i, j), bytes([j & 255]) * SMALL)
    client.flush()
    return large * (2 + LARGE // SMALL)


def main():
    live_bytes = int(sys.argv[1]) << 20
    port = free_port()
    server = start_server(port)
    try:
        client = Client(connect(server, port))
        empty = client.info('used_memory')
        started = time.monotonic()
        operations = churn(client, live_bytes)
        seconds = time.monotonic() - started
        live = max(0, client.info('used_memory_peak') - empty) if live_bytes else 0
        print(f'load peak_bytes={live} operations={operations} seconds={seconds:.4f}')
    except OSError as e:
        sys.exit(f'the server went away: {e}')
    finally:
        server.kill()
        server.wait()


main()
